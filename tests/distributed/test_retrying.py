"""Errors of a moment: files with one are done again on request, and nothing is there twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from archives import make_archive, rows_of
from dicom_files import write_dicom
from PIL import Image

from mahtrt.distributed import data_set
from mahtrt.distributed.data_set import DataSet
from mahtrt.distributed.options import DatasetOptions
from mahtrt.distributed.predict_dataset import predict_dataset
from mahtrt.distributed.retrying import _Names


@pytest.fixture
def options(tiny_bundle: Path, tmp_path: Path) -> DatasetOptions:
    """A data set of two archives; each has a bad file, and one a file with a bad frame."""
    archive = make_archive(tmp_path / "archive", images=1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "bad.png").write_bytes(b"no picture")
    frames = np.zeros((2, 30, 20), np.uint8)
    write_dicom(archive / "cut.dcm", frames, NumberOfFrames=2, StudyInstanceUID="1.2")
    content = (archive / "cut.dcm").read_bytes()
    (archive / "cut.dcm").write_bytes(content[:-100])
    options = DatasetOptions(
        tiny_bundle,
        [archive, tmp_path / "other"],
        tmp_path / "rows",
        engine="onnxruntime-fp32",
        files_per_part=2,
    )
    predict_dataset(options)
    Image.fromarray(frames[0]).save(archive / "bad.png")
    (archive / "cut.dcm").write_bytes(content)
    return options


def test_files_with_an_error_are_done_again(options: DatasetOptions) -> None:
    before = rows_of(Path(options.out))
    of_first = before["image"].str.contains("/archive/")
    assert before[before["error"].notna() & of_first]["file"].nunique() == 2
    assert predict_dataset(options).rows == 0  # without being asked
    again = replace(options, archives=options.archives[:1], retry_errors=True)
    result = predict_dataset(again)
    assert (result.rows, result.errors) == (3, 0)
    assert "rows of 2 file(s) with an error were removed, for a retry" in result.notes
    now = rows_of(Path(options.out))
    assert now["image"].is_unique
    assert now[now["error"].notna()]["image"].tolist() == [str(options.archives[1]) + "/bad.png"]
    good = before[~before["file"].isin(before[before["error"].notna()]["file"])]
    kept = now[now["image"].isin(good["image"])].reset_index(drop=True)
    assert kept.equals(good.reset_index(drop=True))
    assert predict_dataset(again).rows == 0


def test_a_run_that_is_killed_before_it_tries_again_loses_nothing(
    options: DatasetOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = set(rows_of(Path(options.out))["file"])
    replaced = list[str]()

    def killed(here: DataSet, name: str, content: bytes | None) -> None:
        if replaced:
            raise KeyboardInterrupt
        replaced.append(name)
        replace_part(here, name, content)

    replace_part: Callable[[DataSet, str, bytes | None], None] = DataSet.replace_part
    with monkeypatch.context() as patch:
        patch.setattr(data_set.DataSet, "replace_part", killed)
        with pytest.raises(KeyboardInterrupt):
            predict_dataset(replace(options, retry_errors=True))
    assert predict_dataset(options).rows >= 1
    now = rows_of(Path(options.out))
    assert set(now["file"]) == names
    assert now["image"].is_unique


def test_files_of_a_list_are_known_by_their_names(options: DatasetOptions, tmp_path: Path) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text("archive/bad.png\n")
    result = predict_dataset(replace(options, archives=[listed], retry_errors=True))
    assert (result.rows, result.errors) == (1, 0)
    assert rows_of(Path(options.out))["image"].is_unique


def test_which_names_are_of_an_archive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    here, folder = _Names(["."]), _Names(["in", "one.png"])
    assert "a/b.png" in here
    assert "/a/b.png" not in here
    assert "s3://bucket/b.png" not in here
    assert all(name in folder for name in ("in", "in/b.png", "one.png"))
    assert not any(name in folder for name in ("inner/b.png", "two.png"))
