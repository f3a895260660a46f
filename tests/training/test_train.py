"""The verb around the trainer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_maht_net import TRAINED as SMALL

from mahtrt.errors import DataError
from mahtrt.training.options import TrainOptions
from mahtrt.training.train import train

pytestmark = pytest.mark.slow


def options_for(folder: Path, steps: int, **changes: Any) -> TrainOptions:
    values: dict[str, Any] = {"batch_size": 2, "workers": 0, "overrides": SMALL, **changes}
    return TrainOptions("phantom:3", out=folder / "net.safetensors", steps=steps, **values)


def test_it_tells_the_loss_and_the_error_on_other_images(tmp_path: Path) -> None:
    calls: list[tuple[str, int, int, str]] = []

    def note(stage: str, done: int, total: int, detail: str = "") -> None:
        calls.append((stage, done, total, detail))

    asked = options_for(tmp_path, 2, settle=1, eval="phantom:2@7")
    result = train(asked, note)
    assert [call[:3] for call in calls] == [
        *(("comparing training and evaluation", n, 5) for n in range(1, 6)),
        ("preparing the network", 0, 0),
        ("settling batch norms", 1, 1),
        ("training", 1, 2),
        ("training", 2, 2),
        ("evaluating", 1, 2),
        ("evaluating", 2, 2),
    ]
    steps = [call for call in calls if call[0] == "training"]
    assert re.fullmatch(r"step 1 of 2, loss \d+\.\d{4}", steps[0][3])
    # The first step is no measure of the pace: processes start and memory is taken in it.
    pace = r"step 2 of 2, loss \d+\.\d{4}, \d+\.\d images/s, 0:00:00 left"
    assert re.fullmatch(pace, steps[1][3])
    assert result.path == asked.out
    assert result.loss is not None
    assert result.loss > 0
    assert result.scores is not None
    assert result.scores.images == 2
    assert result.scores.px is not None
    assert result.scores.px > 0
    assert re.fullmatch(r"\d+\.\d{3} px, \d+\.\d{3} mm", result.scores.in_words()["MRE"])


def test_without_steps_or_evaluation_there_is_only_the_file(tmp_path: Path) -> None:
    result = train(options_for(tmp_path, 0))
    assert (result.loss, result.scores) == (None, None)
    assert result.path.is_file()


def test_evaluation_data_is_judged_before_training(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(images / "a.png")
    with pytest.raises(DataError, match="images without landmarks"):
        train(options_for(tmp_path, 0, eval=str(images)))
    (tmp_path / "two.csv").write_text("images/a.png,1,2,3,4\n")
    with pytest.raises(DataError, match="got 2 landmarks per image; expected 7"):
        train(options_for(tmp_path, 0, eval=str(tmp_path / "two.csv")))
    assert not (tmp_path / "net.safetensors").exists()


def test_images_that_train_do_not_judge(tmp_path: Path) -> None:
    for kept in ("phantom:3", "phantom:2"):
        with pytest.raises(DataError, match=r"training and evaluation images: got [23] in both"):
            train(options_for(tmp_path, 0, eval=kept))
    assert not (tmp_path / "net.safetensors").exists()
