"""Pictures of a data set: never in an archive, and only of what the run does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mahtrt.distributed.options import DatasetOptions
from mahtrt.distributed.predict_dataset import predict_dataset
from mahtrt.distributed.storage import is_below
from mahtrt.errors import UsageError


def test_pictures_below_an_archive_are_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    archive, link = tmp_path / "archive", tmp_path / "link"
    archive.mkdir()
    link.symlink_to(archive)
    for overlay in (archive, link / "ov", tmp_path / "new" / ".." / "archive" / "a" / "b"):
        options = DatasetOptions(tiny_bundle, [archive], tmp_path / "rows", overlay=overlay)
        with pytest.raises(UsageError, match="which lies in the archive"):
            predict_dataset(options)
    assert not (tmp_path / "rows").exists()


def test_what_lies_below_a_prefix_of_a_store() -> None:
    assert is_below("s3://bucket/archive/ov", "s3://bucket/archive")
    assert not is_below("s3://bucket/archive-ov", "s3://bucket/archive")
    assert not is_below("s3://bucket/archive", "bucket")
    assert is_below("/a", "/")


def test_pictures_that_a_done_data_set_lacks_are_told_of(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(np.full((40, 50), 70, np.uint8)).save(tmp_path / "in" / "first.png")
    options = DatasetOptions(
        tiny_bundle, [tmp_path / "in"], tmp_path / "rows", engine="onnxruntime-fp32"
    )
    predict_dataset(options)
    Image.fromarray(np.full((40, 50), 70, np.uint8)).save(tmp_path / "in" / "second.png")
    drawn = predict_dataset(replace(options, overlay=tmp_path / "in-ov"))
    assert "of the 1 file(s) that were done before, none was drawn" in " ".join(drawn.notes)
    assert len(list((tmp_path / "in-ov").iterdir())) == 1
