"""Files of a bundle: regular ones within it, opened once, and used as they were hashed."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from sealing import change_manifest

from mahtrt.bundle import contents
from mahtrt.bundle.bundle import check_replaceable, read_bundle, verify_bundle
from mahtrt.errors import IntegrityError, UsageError
from mahtrt.inspection.inspect import InspectOptions, inspect
from mahtrt.reading import Wanted, open_regular
from mahtrt.runtime import open_session

FILES = (
    "engines/openvino-fp32/model.bin",
    "engines/openvino-fp32/model.blob",
    "engines/openvino-fp32/model.xml",
    "golden/0.png",
    "manifest.json",
    "model.onnx",
)


def test_a_manifest_is_a_file_of_its_bundle(bundle_copy: Path, tmp_path: Path) -> None:
    place, outside = bundle_copy / "manifest.json", tmp_path / "manifest.json"
    shutil.move(place, outside)
    place.symlink_to(outside)
    with pytest.raises(IntegrityError, match=r"manifest\.json: got a link that leads out"):
        read_bundle(bundle_copy)
    place.unlink()
    place.symlink_to("/dev/zero")
    with pytest.raises(IntegrityError, match="got a link that leads out of the bundle"):
        read_bundle(bundle_copy)
    place.unlink()
    place.symlink_to("manifest.json")  # a link to itself
    with pytest.raises(IntegrityError, match=r"manifest\.json: got"):
        read_bundle(bundle_copy)
    place.unlink()
    shutil.move(outside, bundle_copy / "kept.json")
    place.symlink_to("kept.json")
    read_bundle(bundle_copy, verify=False)


@pytest.mark.parametrize("relative", FILES)
def test_a_fifo_is_refused_at_once(bundle_copy: Path, relative: str) -> None:
    (bundle_copy / relative).unlink()
    os.mkfifo(bundle_copy / relative)
    with pytest.raises(IntegrityError, match="got a FIFO") as caught:
        verify_bundle(bundle_copy)
    assert relative in str(caught.value)


def test_a_folder_whose_manifest_is_a_fifo_is_not_replaced(bundle_copy: Path) -> None:
    (bundle_copy / "manifest.json").unlink()
    os.mkfifo(bundle_copy / "manifest.json")
    with pytest.raises(UsageError, match="expected a free name, or a bundle to replace"):
        check_replaceable(bundle_copy)


def test_a_folder_in_place_of_a_file_is_refused(bundle_copy: Path) -> None:
    for relative in ("manifest.json", "model.onnx"):
        place = bundle_copy / relative
        kept = place.read_bytes()
        place.unlink()
        place.mkdir()
        with pytest.raises(IntegrityError, match=f"{relative}: got a folder"):
            read_bundle(bundle_copy)
        place.rmdir()
        place.write_bytes(kept)


def test_one_file_under_many_names_is_refused_before_it_is_hashed(
    bundle_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link to the folder itself would make one file as many as there are paths."""
    (bundle_copy / "a").symlink_to(".")

    def add(data: dict[str, Any]) -> None:
        onnx = next(record for record in data["files"] if record["path"] == "model.onnx")
        data["files"] += [{**onnx, "path": "a/" * (i + 1) + "model.onnx"} for i in range(30)]

    change_manifest(bundle_copy, add)

    def hashed(*arguments: object) -> None:
        raise AssertionError("a file was hashed")

    monkeypatch.setattr(contents.BundleFile, "check", hashed)
    with pytest.raises(IntegrityError, match="a: got a file the manifest does not list"):
        verify_bundle(bundle_copy)


def test_what_is_given_out_is_what_was_hashed(
    bundle_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is exchanged between two looks at it is never used."""
    bundle = read_bundle(bundle_copy)
    opened: list[Path] = []

    def open_then_exchange(path: Path, wanted: Wanted) -> BinaryIO:
        file = open_regular(path, wanted)
        opened.append(path)
        path.unlink()
        path.write_bytes(b"another engine")
        return file

    monkeypatch.setattr(contents, "open_regular", open_then_exchange)
    onnx = bundle.file("model.onnx").read_bytes()
    record = next(each for each in bundle.manifest.files if each.path == "model.onnx")
    assert hashlib.sha256(onnx).hexdigest() == record.sha256
    assert len(opened) == 1
    bundle.file("ranges.json").copy_to(bundle_copy.parent / "copied.json")
    assert (bundle_copy.parent / "copied.json").read_text() == "{}\n"


def open_then_spoil(path: Path, wanted: Wanted) -> BinaryIO:
    """Open a file, and put another one in its place."""
    file = open_regular(path, wanted)
    path.unlink()
    path.write_bytes(b"another file")
    return file


@pytest.mark.parametrize("target", ["openvino", "onnxruntime"])
def test_an_engine_is_opened_from_the_bytes_that_were_hashed(
    bundle_copy: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.setattr(contents, "open_regular", open_then_spoil)
    with open_session(bundle_copy, engine=target) as session:
        assert session.run(np.zeros((8, 8), np.uint8)).points.shape == (3, 2)


def test_a_graph_is_described_from_the_bytes_that_were_hashed(
    bundle_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "open_regular", open_then_spoil)
    found = inspect(InspectOptions(bundle_copy, graphs=True)).bundle
    assert found is not None
    assert list(found.onnx) == ["fp32"]


def test_a_file_that_cannot_be_read_is_named(
    bundle_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(io.BytesIO):
        def fileno(self) -> int:
            return descriptor

        def read(self, size: int | None = -1) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    descriptor = os.open(bundle_copy / "model.onnx", os.O_RDONLY)
    monkeypatch.setattr(contents, "open_regular", lambda path, wanted: Failing())
    bundle = read_bundle(bundle_copy, verify=False)
    try:
        with pytest.raises(IntegrityError, match=r"model\.onnx: got Input/output error"):
            bundle.file("model.onnx").check()
    finally:
        os.close(descriptor)
