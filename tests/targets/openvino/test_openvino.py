"""What OpenVINO builds, and what opening says when this is not the build machine."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_network as tiny
from cpus import Cpu

import mahtrt.targets.openvino.run as ov_runtime
from mahtrt import files
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.errors import BuildError
from mahtrt.targets.backend import EngineToOpen
from mahtrt.targets.openvino import build as ov_builder
from mahtrt.targets.openvino.run import OpenVinoBackend
from mahtrt.targets.target import EngineOptions

ONE_THREAD, TRIAL = EngineOptions(threads=1), EngineOptions(trial=True)


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, data: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    path = tiny.save(tiny.make_model(), tmp_path)
    monkeypatch.setattr(files, "write_bytes", fail)
    with pytest.raises(BuildError, match="full disk"):
        ov_builder.build_engine(path, "fp32", tmp_path / "out", ONE_THREAD)


@pytest.mark.parametrize("kind", ["avx2", "vnni", "bf16", "amx"])
def test_bf16_is_asked_for_only_where_it_is_native(
    tmp_path: Path, kind: str, cpu: Callable[[str], Cpu]
) -> None:
    native = cpu(kind).bf16
    path = tiny.save(tiny.make_model(), tmp_path)
    artifact = ov_builder.build_engine(path, "bf16", tmp_path / "out", TRIAL)
    assert artifact.device.inference_precision == ("bf16" if native else "f32")
    assert bool(artifact.notes) is not native
    # What an INT8 graph leaves in floating point follows; FP32 never does.
    int8 = ov_builder.build_engine(path, "int8", tmp_path / "out", TRIAL)
    assert int8.device.inference_precision == ("bf16" if native else "f32")
    fp32 = ov_builder.build_engine(path, "fp32", tmp_path / "out", TRIAL)
    assert fp32.device.inference_precision == "f32"


def openvino_engine(folder: Path) -> tuple[EngineRecord, Mapping[str, Path]]:
    path = tiny.save(tiny.make_model(), folder)
    artifact = ov_builder.build_engine(path, "fp32", folder / "out", ONE_THREAD)
    return artifact.record("openvino", "fp32"), artifact.files


def with_roles(record: EngineRecord, *roles: str) -> EngineRecord:
    """An engine that has no other files."""
    return replace(record, files={role: record.files[role] for role in roles})


def opened(record: EngineRecord, files: Mapping[str, Path]) -> OpenVinoBackend:
    return OpenVinoBackend.open(EngineToOpen(record, files, tiny.SPEC, threads=1))


def test_the_blob_is_used_where_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, files = openvino_engine(tmp_path)
    tensor = np.random.default_rng(0).random((1, 3, *tiny.SIZE), np.float32)
    without = with_roles(record, "onnx")
    assert OpenVinoBackend.roles(without) == ("onnx",)
    from_onnx = opened(without, files).infer({"image": tensor})
    monkeypatch.setattr(ov_runtime, "compile_model", None)
    monkeypatch.setattr(ov_runtime, "compile_ir", None)
    files["onnx"].unlink()
    assert OpenVinoBackend.roles(record) == ("blob", "ir", "weights", "onnx")
    backend = opened(record, files)
    assert backend.notes == ()
    for name, array in backend.infer({"image": tensor}).items():
        np.testing.assert_array_equal(array, from_onnx[name])


def test_threads_are_those_asked_for_with_a_blob_too(tmp_path: Path) -> None:
    _, files = openvino_engine(tmp_path)
    for threads in (1, 2):
        compiled = ov_runtime.import_blob(files["blob"], inference_precision="f32", threads=threads)
        assert compiled is not None
        assert compiled.get_property("INFERENCE_NUM_THREADS") == threads


@pytest.mark.parametrize("content", [b"", b"no blob", None])
@pytest.mark.parametrize("ir", ["whole", "refused too", "none"])
def test_a_blob_that_openvino_refuses_gives_way_to_a_graph(
    tmp_path: Path, content: bytes | None, ir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, files = openvino_engine(tmp_path)
    if ir == "whole":
        monkeypatch.setattr(ov_runtime, "compile_model", None)
    elif ir == "none":
        record = with_roles(record, "onnx", "blob")
    else:
        files["weights"].write_bytes(b"")
    whole = files["blob"].read_bytes()
    files["blob"].write_bytes(whole[: len(whole) // 2] if content is None else content)
    tensor = np.zeros((1, 3, *tiny.SIZE), np.float32)
    backend = opened(record, files)
    assert backend.infer({"image": tensor})["landmarks"].shape == (1, 3, 2)


def test_large_blobs_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ov_builder, "MAX_BLOB_BYTES", 10)
    record, files = openvino_engine(tmp_path)
    assert "blob" not in record.files
    assert not list((tmp_path / "out").glob("*.blob"))
    assert OpenVinoBackend.roles(record) == ("ir", "weights", "onnx")
    assert opened(record, files).notes == ()


@pytest.mark.parametrize("graph", [("ir", "weights"), ("onnx",)], ids=lambda roles: roles[0])
def test_another_openvino_compiles_the_graph_again(tmp_path: Path, graph: tuple[str, ...]) -> None:
    """The IR; the ONNX of a bundle that has no IR, as those of earlier versions."""
    record, files = openvino_engine(tmp_path)
    tensor = np.random.default_rng(0).random((1, 3, *tiny.SIZE), np.float32)
    first = opened(record, files).infer({"image": tensor})
    record = with_roles(record, *{*graph, "onnx"}, "blob")
    record = replace(record, versions={"openvino": "2020.1"})
    assert OpenVinoBackend.roles(record) == tuple(dict.fromkeys([*graph, "onnx"]))
    backend = opened(record, files)
    assert len(backend.notes) == 1
    assert "compiled again here" in backend.notes[0]
    for name, array in backend.infer({"image": tensor}).items():
        np.testing.assert_array_equal(array, first[name])


def test_another_cpu_is_said(tmp_path: Path, cpu: Callable[[str], Cpu]) -> None:
    record, files = openvino_engine(tmp_path)
    device = replace(record.device, name="Other CPU", inference_precision="bf16")
    cpu("avx2")
    record = replace(record, device=device)
    assert OpenVinoBackend.roles(record) == ("ir", "weights", "onnx")
    notes = opened(record, files).notes
    assert "Built and measured on Other CPU" in notes[0]
    assert "runs in FP32 here" in notes[1]
