"""Bundles: whole or not at all, and a changed byte is found."""

from __future__ import annotations

import errno
import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_network as tiny
from sealing import change_manifest

from mahtrt import files
from mahtrt.bundle.bundle import Bundle, check_replaceable, read_bundle, verify_bundle, write_bundle
from mahtrt.bundle.golden import read_golden
from mahtrt.bundle.manifest import EngineRecord, FileRecord, GraphRecord, Manifest, text_of_manifest
from mahtrt.bundle.records import AccuracyRecord
from mahtrt.errors import BuildError, DataError, IntegrityError, UsageError
from mahtrt.runtime import open_session

FILES = (
    "engines/openvino-fp32/model.bin",
    "engines/openvino-fp32/model.blob",
    "engines/openvino-fp32/model.xml",
    "golden/0.f32",
    "golden/0.png",
    "golden/1.f32",
    "golden/1.png",
    "manifest.json",
    "model.onnx",
    "ranges.json",
)


@pytest.fixture
def copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "copy.mahtrt"))


def small_manifest(**changes: Any) -> Manifest:
    record = EngineRecord("e", "openvino", "fp32", {"onnx": "model.onnx"})
    fields: dict[str, Any] = {
        "spec": tiny.SPEC,
        "precision": "fp32",
        "graphs": (GraphRecord("fp32", "model.onnx", "fp32"),),
        "engines": (record,),
        "default_engine": "e",
        "preprocess_version": 1,
    }
    return Manifest(**{**fields, **changes})


def write_small(path: Path, content: str = "onnx", **changes: object) -> None:
    with write_bundle(path) as writer:
        writer.place("model.onnx").write_text(content)
        writer.finish(small_manifest(**changes))


def write_and_raise(path: Path, error: BaseException) -> None:
    with write_bundle(path) as writer:
        writer.place("model.onnx").write_text("new")
        writer.place("engines/x/model.bin").write_text("half")
        raise error


def test_what_was_written_is_read(tiny_bundle: Path) -> None:
    bundle = read_bundle(tiny_bundle)
    assert bundle.spec == tiny.SPEC
    listed = tuple(record.path for record in bundle.manifest.files)
    assert sorted([*listed, "manifest.json"]) == sorted(FILES)
    assert bundle.engine_files(bundle.engine("openvino"))["blob"].place.is_file()
    vectors = read_golden(bundle)
    assert [vector.name for vector in vectors] == ["golden-0", "golden-1"]
    with open_session(tiny_bundle) as session:
        for vector in vectors:
            np.testing.assert_allclose(
                session.run(vector.image).points, vector.points_px, atol=2e-3
            )


@pytest.mark.parametrize("relative", FILES)
@pytest.mark.parametrize("where", [0.0, 0.5, 0.999999])
def test_a_changed_byte_is_found(copy: Path, relative: str, where: float) -> None:
    place = copy / relative
    raw = bytearray(place.read_bytes())
    raw[int(where * len(raw))] ^= 1
    place.write_bytes(raw)
    with pytest.raises(IntegrityError) as caught:
        verify_bundle(copy)
    assert caught.value.exit_code == 5
    assert relative in str(caught.value)


@pytest.mark.slow
def test_every_byte_of_a_manifest_counts(tmp_path: Path) -> None:
    write_small(tmp_path / "a.mahtrt")
    place = tmp_path / "a.mahtrt/manifest.json"
    whole = place.read_bytes()
    for i in range(len(whole)):
        place.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        with pytest.raises(IntegrityError):
            read_bundle(tmp_path / "a.mahtrt")


def test_digests_are_named(copy: Path) -> None:
    place = copy / "ranges.json"
    place.write_text("[]\n")
    with pytest.raises(IntegrityError, match=r"ranges\.json: got SHA-256 [0-9a-f]{64}; expected"):
        read_bundle(copy)
    place.write_text("longer\n")
    with pytest.raises(IntegrityError, match=r"ranges\.json: got 7 bytes; expected 3 bytes"):
        read_bundle(copy)


@pytest.mark.parametrize("relative", FILES[:-1])
def test_a_missing_file_is_named(copy: Path, relative: str) -> None:
    (copy / relative).unlink()
    with pytest.raises(IntegrityError, match=relative.rpartition("/")[2]):
        verify_bundle(copy)


def test_an_extra_file_is_named(copy: Path) -> None:
    (copy / "engines/extra.bin").write_text("x")
    with pytest.raises(IntegrityError, match=r"extra\.bin: got a file the manifest does not list"):
        verify_bundle(copy)


def test_a_link_out_of_the_bundle_is_refused(copy: Path, tmp_path: Path) -> None:
    outside = tmp_path / "model.onnx"
    shutil.move(copy / "model.onnx", outside)
    (copy / "model.onnx").symlink_to(outside)
    with pytest.raises(IntegrityError, match="link that leads out"):
        verify_bundle(copy)


def test_opening_checks_what_it_opens_only(copy: Path) -> None:
    (copy / "golden/0.png").write_text("spoiled")
    with open_session(copy) as session:
        assert session.name == "openvino-fp32"
    (copy / "engines/openvino-fp32/model.blob").write_bytes(b"")
    with open_session(copy, engine="onnxruntime"):
        pass
    with pytest.raises(IntegrityError, match=r"model\.blob"):
        open_session(copy, engine="openvino")
    (copy / "model.onnx").write_bytes((copy / "model.onnx").read_bytes() + b" ")
    with pytest.raises(IntegrityError, match=r"model\.onnx"):
        open_session(copy, engine="onnxruntime")


def set_engine_path(data: dict[str, Any], path: str) -> None:
    data["engines"][0]["files"]["onnx"] = path
    data["files"].append({"path": path, "sha256": "", "size": 0})


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "newer": (lambda d: d.update(schema="mahtrt.bundle/4"), "Upgrade mahtrt"),
    "other": (
        lambda d: d.update(schema="mahtrt.spec/1"),
        "expected mahtrt.bundle/1 to mahtrt.bundle/3",
    ),
    "newer spec": (lambda d: d["spec"].update(schema="mahtrt.spec/9"), "Upgrade mahtrt"),
    "unknown": (lambda d: d.update(colour="red"), "unknown field 'colour'"),
    "engine": (lambda d: d["engines"][0].update(speed=1), "unknown field 'speed'"),
    "missing": (lambda d: d.pop("engines"), "no field 'engines'"),
    "type": (lambda d: d["engines"][0].update(batch="1"), r"engines\[0\]: batch: got '1'"),
    "precision": (lambda d: d.update(precision="int4"), "expected one of fp32"),
    "spec": (lambda d: d["spec"]["inputs"][0].update(channels=2), "expected 1 or 3"),
    "engines": (lambda d: d.update(engines=2 * d["engines"]), "engine e twice"),
    "files": (lambda d: d.update(files=2 * d["files"]), r"file model\.onnx twice"),
    "default": (lambda d: d.update(default_engine="x"), "default 'x'"),
    "none": (lambda d: d.update(engines=[]), "got engines none"),
    "unlisted": (lambda d: d["graphs"][0].update(file="i.onnx"), "no digest for i.onnx"),
    "graphs": (lambda d: d.update(graphs=2 * d["graphs"]), "graph fp32 twice"),
    "parent": (lambda d: set_engine_path(d, "../x"), "path '../x'"),
    "inner parent": (lambda d: set_engine_path(d, "a/../../x"), "path 'a/../../x'"),
    "absolute": (lambda d: set_engine_path(d, "/etc/passwd"), "path '/etc/passwd'"),
    "drive": (lambda d: set_engine_path(d, "c:/x"), "path 'c:/x'"),
    "backslash": (lambda d: set_engine_path(d, "a\\x"), "a path inside"),
    "empty": (lambda d: set_engine_path(d, ""), "path ''"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_manifests_that_cannot_be_used(tmp_path: Path, name: str) -> None:
    write_small(tmp_path / "a.mahtrt")
    change, message = CHANGES[name]
    change_manifest(tmp_path / "a.mahtrt", change)
    with pytest.raises(IntegrityError, match=message) as caught:
        read_bundle(tmp_path / "a.mahtrt")
    assert "\n" not in str(caught.value)


def test_the_manifest_text(tmp_path: Path) -> None:
    accuracy = AccuracyRecord(1, 1, math.nan, math.inf, math.inf, math.inf, ())
    engine = replace(small_manifest().engines[0], accuracy=accuracy)
    write_small(tmp_path / "a.mahtrt", engines=(engine,))
    text = (tmp_path / "a.mahtrt/manifest.json").read_text()
    golden = Path(__file__).with_name("golden_manifest.json")
    assert text == golden.read_text(), f"if this change is meant, copy it to {golden.name}"
    bundle = read_bundle(tmp_path / "a.mahtrt")
    assert text_of_manifest(bundle.manifest) == text


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_write_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        write_and_raise(tmp_path / "new/folder/a.mahtrt", error())
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_keeps_the_old_bundle(tmp_path: Path) -> None:
    path = tmp_path / "a.mahtrt"
    write_small(path, "old")
    with pytest.raises(KeyboardInterrupt):
        write_and_raise(path, KeyboardInterrupt())
    assert list(tmp_path.iterdir()) == [path]
    assert verify_bundle(path).file("model.onnx").place.read_text() == "old"


@pytest.mark.parametrize("swap", [True, False], ids=["exchange", "two renames"])
def test_a_bundle_is_replaced(tmp_path: Path, swap: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not swap:
        monkeypatch.setattr(files, "exchange", lambda first, second: False)
    path = tmp_path / "a.mahtrt"
    write_small(path, "old")
    write_small(path, "new")
    assert list(tmp_path.iterdir()) == [path]
    assert verify_bundle(path).file("model.onnx").place.read_text() == "new"


def test_a_failed_swap_puts_the_old_bundle_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.mahtrt"
    write_small(path, "old")
    monkeypatch.setattr(files, "exchange", lambda first, second: False)
    real = os.replace

    def fail_on_new(source: Path, target: Path) -> None:
        if Path(target) == path and not str(source).endswith(".old"):
            raise OSError(errno.EIO, "broken")
        real(source, target)

    monkeypatch.setattr(os, "replace", fail_on_new)
    with pytest.raises(OSError, match="broken"):
        write_small(path, "new")
    assert list(tmp_path.iterdir()) == [path]
    assert verify_bundle(path).file("model.onnx").place.read_text() == "old"


def test_only_bundles_are_replaced(tmp_path: Path) -> None:
    folder, file, empty = tmp_path / "folder", tmp_path / "file", tmp_path / "empty"
    folder.mkdir()
    (folder / "precious.txt").write_text("mine")
    file.write_text("mine")
    empty.mkdir()
    for place in (folder, file):
        with pytest.raises(UsageError, match="expected a free name, or a bundle to replace"):
            write_small(place)
    assert (folder / "precious.txt").read_text() == file.read_text() == "mine"
    (folder / "manifest.json").write_text('{"schema": "other/1"}')
    with pytest.raises(UsageError, match="not a mahtrt bundle"):
        check_replaceable(folder)
    write_small(empty)
    verify_bundle(empty)


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(BuildError, match=r"a\.mahtrt: got a full disk \(\d+ MiB free at"):
        write_and_raise(tmp_path / "a.mahtrt", full)
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BuildError, match="expected a folder that can be written"):
        write_small(tmp_path / "file/a.mahtrt")
    assert (tmp_path / "file").read_text() == "x"


def test_a_bundle_must_hold_what_it_names(tmp_path: Path) -> None:
    with (
        pytest.raises(IntegrityError, match=r"no digest for model\.onnx"),
        write_bundle(tmp_path / "a.mahtrt") as writer,
    ):
        writer.finish(small_manifest())
    assert list(tmp_path.iterdir()) == []


def test_equal_files_are_kept_once(tmp_path: Path) -> None:
    names = {"fp32": "model.onnx", "fp16": "model.fp16.onnx"}
    graphs = tuple(GraphRecord(name, file, name) for name, file in names.items())  # type: ignore[arg-type]
    engines = tuple(EngineRecord(name, "x", "fp32", {"onnx": file}) for name, file in names.items())
    with write_bundle(tmp_path / "a.mahtrt") as writer:
        for place in (*names.values(), "plan.json", "report.json"):
            writer.place(place).write_text("the same")
        writer.finish(small_manifest(graphs=graphs, engines=engines, default_engine="fp16"))
    bundle = verify_bundle(tmp_path / "a.mahtrt")
    assert {graph.file for graph in bundle.manifest.graphs} == {"model.onnx"}
    assert bundle.engine().files == {"onnx": "model.onnx"}
    # Files that nothing points to are known by their names.
    kept = sorted(place.name for place in bundle.path.iterdir())
    assert kept == ["manifest.json", "model.onnx", "plan.json", "report.json"]


def test_files_are_taken_from_another_bundle(tmp_path: Path, tiny_bundle: Path) -> None:
    source = read_bundle(tiny_bundle)
    with write_bundle(tmp_path / "a.mahtrt") as writer:
        writer.take(source, ["model.onnx", "engines/openvino-fp32/model.blob"])
        writer.finish(small_manifest())
    taken = verify_bundle(tmp_path / "a.mahtrt")
    assert [record.path for record in taken.manifest.files] == [
        "engines/openvino-fp32/model.blob",
        "model.onnx",
    ]
    assert set(taken.manifest.files) <= set(source.manifest.files)


def test_a_file_that_changed_is_not_taken(tmp_path: Path, copy: Path) -> None:
    (copy / "model.onnx").write_text("changed")
    source = read_bundle(copy, verify=False)
    with (
        pytest.raises(IntegrityError, match=r"model\.onnx"),
        write_bundle(tmp_path / "a.mahtrt") as writer,
    ):
        writer.take(source, ["model.onnx"])
    assert not (tmp_path / "a.mahtrt").exists()


def test_places_outside_are_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError), write_bundle(tmp_path / "a.mahtrt") as writer:
        writer.place("../b")
    with pytest.raises(IntegrityError):
        Bundle(tmp_path, small_manifest()).file("../b")


def test_finding_one_of_many_files_takes_no_longer(tmp_path: Path) -> None:
    records = tuple(FileRecord(f"ranges/{n}", "0" * 64, 1) for n in range(20_000))
    bundle = Bundle(tmp_path, replace(small_manifest(), files=records))
    started = time.monotonic()
    assert all(bundle.file(record.path).record is record for record in records)
    assert time.monotonic() - started < 2


def test_what_is_not_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="got nothing"):
        read_bundle(tmp_path / "none")
    with pytest.raises(DataError, match="got an empty folder"):
        read_bundle(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="got a file"):
        read_bundle(tmp_path / "file")
    with pytest.raises(IntegrityError, match=r"got no manifest\.json"):
        read_bundle(tmp_path)
