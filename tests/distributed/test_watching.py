"""A folder that is watched: files are run once, and only when they are complete."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from archives import rows_of
from PIL import Image

from mahtrt.distributed.options import DatasetOptions
from mahtrt.distributed.predict_dataset import predict_dataset
from mahtrt.distributed.watching import Watching


class Story:
    """What happens between two looks, instead of waiting."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.step = folder, 0

    def sleep(self, _seconds: float) -> None:
        self.step += 1
        picture = self.folder / "slow.png"
        if self.step == 1:
            Image.fromarray(np.full((40, 50), 90, np.uint8)).save(self.folder / "second.png")
            picture.write_bytes(b"half")
        elif self.step == 2:
            Image.fromarray(np.full((40, 50), 60, np.uint8)).save(picture)
            (self.folder / ".hidden.png").write_bytes(b"under way")
        elif self.step == 6:
            raise KeyboardInterrupt


def test_files_are_run_when_they_are_complete(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir()
    Image.fromarray(np.full((40, 50), 70, np.uint8)).save(folder / "first.png")
    options = DatasetOptions(
        tiny_bundle, [folder], tmp_path / "rows", engine="onnxruntime-fp32", watch=True
    )
    told = []
    story = Story(folder)
    watching = Watching(settled_s=1e-9, sleep=story.sleep)
    done = predict_dataset(options, lambda *each: told.append(each), watching=watching)
    rows = rows_of(tmp_path / "rows")
    assert [Path(name).name for name in rows["image"]] == ["first.png", "second.png", "slow.png"]
    assert rows["error"].isna().all()
    assert (done.rows, done.errors, story.step) == (3, 0, 6)
    again = predict_dataset(options, watching=replace(watching, is_over=lambda: True))
    assert again.rows == 0
    finished = predict_dataset(replace(options, watch=False))
    assert (finished.rows, finished.done_before) == (0, 3)
