"""Builders, the table of targets, and what opening says when this is not the build machine."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import onnx
import pytest
import tiny_network as tiny
from cpus import Cpu

import mahtrt.targets.openvino.run as ov_runtime
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.cuda import CudaProbe
from mahtrt.errors import BuildError, ModelError, UsageError
from mahtrt.runtime import Session
from mahtrt.targets.backend import check_interface
from mahtrt.targets.openvino import build as ov_builder
from mahtrt.targets.table import TARGETS, find_target
from mahtrt.targets.target import EngineOptions, Host

ONE_THREAD, TRIAL = EngineOptions(threads=1), EngineOptions(trial=True)


@pytest.fixture(params=tiny.TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def save(model: onnx.ModelProto, folder: Path) -> Path:
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


def test_an_engine_says_what_it_is(target: str, tmp_path: Path) -> None:
    path = save(tiny.make_model(batch=2), tmp_path)
    artifact = find_target(target).build(path, "fp32", tmp_path / "out", ONE_THREAD)
    assert artifact.batch == 2
    assert artifact.files["onnx"] == path
    assert all(place.is_file() for place in artifact.files.values())
    assert artifact.device.name
    assert artifact.device.inference_precision == "f32"
    assert list(artifact.versions) == [target]
    assert artifact.notes == ()


def test_int8_graphs_find_the_same_landmarks(target: str, tmp_path: Path) -> None:
    path = save(tiny.make_int8_model(), tmp_path)
    artifact = find_target(target).build(path, "int8", tmp_path / "out", ONE_THREAD)
    files = {role: place.name for role, place in artifact.files.items()}
    record = EngineRecord("int8", target, "int8", files, versions=artifact.versions)
    backend = find_target(target).open(record, artifact.files, tiny.SPEC, threads=1)
    with Session(backend, tiny.SPEC) as session:
        for seed in range(4):
            image, points = tiny.make_image(seed, zoom=2)
            np.testing.assert_allclose(session.run(image).points, points, atol=5e-3)


def test_a_graph_that_cannot_be_compiled(target: str, tmp_path: Path) -> None:
    model = tiny.make_model()
    model.graph.node[0].op_type = "Convolve"
    with pytest.raises(BuildError, match="expected a graph that") as caught:
        find_target(target).build(save(model, tmp_path), "fp32", tmp_path / "out")
    assert "Convolve" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_onnx(target: str, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\xff" * 100)
    with pytest.raises(BuildError):
        find_target(target).build(tmp_path / "model.onnx", "fp32", tmp_path / "out")


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Path, data: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    path = save(tiny.make_model(), tmp_path)
    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(BuildError, match="full disk"):
        ov_builder.build_engine(path, "fp32", tmp_path / "out", ONE_THREAD)


def test_dynamic_shapes_are_refused(target: str, tmp_path: Path) -> None:
    value = onnx.helper.make_tensor_value_info
    nodes = [onnx.helper.make_node("Relu", ["image"], ["map"])]
    float32 = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes, "g", [value("image", float32, ["n", 3, 4, 4])], [value("map", float32, None)]
    )
    opset = [onnx.helper.make_opsetid("", 20)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)
    with pytest.raises(ModelError, match="expected static shapes"):
        find_target(target).build(save(model, tmp_path), "fp32", tmp_path / "out")


@pytest.mark.parametrize("kind", ["avx2", "vnni", "bf16", "amx"])
def test_bf16_is_asked_for_only_where_it_is_native(
    tmp_path: Path, kind: str, cpu: Callable[[str], Cpu]
) -> None:
    native = cpu(kind).bf16
    path = save(tiny.make_model(), tmp_path)
    artifact = ov_builder.build_engine(path, "bf16", tmp_path / "out", TRIAL)
    assert artifact.device.inference_precision == ("bf16" if native else "f32")
    assert bool(artifact.notes) is not native
    # What an INT8 graph leaves in floating point follows; FP32 never does.
    int8 = ov_builder.build_engine(path, "int8", tmp_path / "out", TRIAL)
    assert int8.device.inference_precision == ("bf16" if native else "f32")
    fp32 = ov_builder.build_engine(path, "fp32", tmp_path / "out", TRIAL)
    assert fp32.device.inference_precision == "f32"


def openvino_engine(folder: Path) -> tuple[EngineRecord, dict[str, Path]]:
    path = save(tiny.make_model(), folder)
    artifact = ov_builder.build_engine(path, "fp32", folder / "out", ONE_THREAD)
    record = EngineRecord(
        name="openvino-fp32",
        target="openvino",
        precision="fp32",
        files={role: place.name for role, place in artifact.files.items()},
        device=artifact.device,
        versions=artifact.versions,
    )
    return record, dict(artifact.files)


def test_the_blob_is_used_where_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, files = openvino_engine(tmp_path)
    tensor = np.random.default_rng(0).random((1, 3, *tiny.SIZE), np.float32)
    without = replace(record, files={k: v for k, v in record.files.items() if k != "blob"})
    assert ov_runtime.OpenVinoBackend.roles(without) == ("onnx",)
    from_onnx = ov_runtime.OpenVinoBackend.open(without, files, tiny.SPEC, threads=1).infer(tensor)
    monkeypatch.setattr(ov_runtime, "compile_model", None)
    files["onnx"].unlink()
    assert ov_runtime.OpenVinoBackend.roles(record) == ("blob", "onnx")
    backend = ov_runtime.OpenVinoBackend.open(record, files, tiny.SPEC, threads=1)
    assert backend.notes == ()
    for name, array in backend.infer(tensor).items():
        np.testing.assert_array_equal(array, from_onnx[name])


def test_threads_are_those_asked_for_with_a_blob_too(tmp_path: Path) -> None:
    _, files = openvino_engine(tmp_path)
    for threads in (1, 2):
        compiled = ov_runtime.import_blob(files["blob"], inference_precision="f32", threads=threads)
        assert compiled is not None
        assert compiled.get_property("INFERENCE_NUM_THREADS") == threads


@pytest.mark.parametrize("content", [b"", b"no blob", None])
def test_a_blob_that_openvino_refuses_gives_way_to_the_onnx(
    tmp_path: Path, content: bytes | None
) -> None:
    record, files = openvino_engine(tmp_path)
    whole = files["blob"].read_bytes()
    files["blob"].write_bytes(whole[: len(whole) // 2] if content is None else content)
    tensor = np.zeros((1, 3, *tiny.SIZE), np.float32)
    backend = ov_runtime.OpenVinoBackend.open(record, files, tiny.SPEC, threads=1)
    assert backend.infer(tensor)["landmarks"].shape == (1, 3, 2)


def test_large_blobs_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ov_builder, "MAX_BLOB_BYTES", 10)
    record, files = openvino_engine(tmp_path)
    assert "blob" not in record.files
    assert not list((tmp_path / "out").glob("*.blob"))
    assert ov_runtime.OpenVinoBackend.open(record, files, tiny.SPEC, threads=1).notes == ()


def test_another_openvino_compiles_the_onnx_again(tmp_path: Path) -> None:
    record, files = openvino_engine(tmp_path)
    tensor = np.random.default_rng(0).random((1, 3, *tiny.SIZE), np.float32)
    first = ov_runtime.OpenVinoBackend.open(record, files, tiny.SPEC, threads=1).infer(tensor)
    record = replace(record, versions={"openvino": "2020.1"})
    assert ov_runtime.OpenVinoBackend.roles(record) == ("onnx",)
    backend = ov_runtime.OpenVinoBackend.open(record, files, tiny.SPEC, threads=1)
    assert len(backend.notes) == 1
    assert "compiled again from the ONNX" in backend.notes[0]
    for name, array in backend.infer(tensor).items():
        np.testing.assert_array_equal(array, first[name])


def test_another_cpu_is_said(tmp_path: Path, cpu: Callable[[str], Cpu]) -> None:
    record, files = openvino_engine(tmp_path)
    device = replace(record.device, name="Other CPU", inference_precision="bf16")
    cpu("avx2")
    record = replace(record, device=device)
    assert ov_runtime.OpenVinoBackend.roles(record) == ("onnx",)
    notes = ov_runtime.OpenVinoBackend.open(record, files, tiny.SPEC, threads=1).notes
    assert "Built and measured on Other CPU" in notes[0]
    assert "runs in FP32 here" in notes[1]


def test_unknown_targets_list_the_known() -> None:
    names = ["openvino", "onnxruntime", "tensorrt", "tensorrt-rtx"]
    assert list(TARGETS) == names
    assert all(find_target(name).runs_here for name in ("openvino", "onnxruntime"))
    with pytest.raises(UsageError, match=f"expected one of {', '.join(names)}"):
        find_target("coreml")


def test_the_network_must_be_the_spec_s() -> None:
    inputs = {"image": (2, 3, 32, 48)}
    names = [output.name for output in tiny.SPEC.outputs]
    assert check_interface("x", tiny.SPEC, inputs, names) == 2
    with pytest.raises(ModelError, match="expected also heatmaps"):
        check_interface("x", tiny.SPEC, inputs, names[:3])
    for wrong in ({"x": (1, 3, 32, 48)}, {"image": (1, 3, 8, 8)}, {**inputs, "mask": (1,)}):
        with pytest.raises(ModelError, match=r"expected image \(batch, 3, 32, 48\)"):
            check_interface("x", tiny.SPEC, wrong, names)


TORCH_FREE = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "onnx", "pycuda", "tensorrt", "pydicom", "timm"}:
            raise ModuleNotFoundError(f"blocked {name}", name=name)

sys.meta_path.insert(0, Blocker())
import numpy as np
from mahtrt.runtime import open_session
from mahtrt.bundle.bundle import verify_bundle
from mahtrt.bundle.golden import read_golden

bundle = verify_bundle(sys.argv[1])
for engine in ("openvino", "onnxruntime"):
    with open_session(sys.argv[1], engine=engine, threads=1) as session:
        for vector in read_golden(bundle):
            points = session.run(vector.image).points
            assert np.abs(points - vector.points_px).max() < 2e-3
assert not {"torch", "onnx", "pycuda"} & set(sys.modules)
print("ran")
"""


def test_a_deployment_host_needs_no_torch(tiny_bundle: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", TORCH_FREE, str(tiny_bundle)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.stdout == "ran\n", result.stderr
    assert result.stderr == ""


def test_engines_that_the_card_cannot_run_do_not_run_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def cards(*capabilities: str) -> CudaProbe:
        names = tuple(f"card {each}" for each in capabilities)
        return CudaProbe("13.0", names, names=names, capabilities=capabilities)

    rtx, enterprise = find_target("tensorrt-rtx"), find_target("tensorrt")
    none = CudaProbe(problem="no driver")
    for probe, able in ((cards("SM89"), True), (cards("SM90"), False), (none, False)):
        assert rtx.finding(Host(probe_cuda=Mock(return_value=probe))).able is able
    for version, able in (("10.16.1", True), ("8.6.1", False)):
        versions = {"tensorrt": version}
        host = Host(versions.get, lambda name: True, lambda: cards("SM90"))
        assert enterprise.finding(host).able is able
