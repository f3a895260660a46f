"""One contract, every target: the same tiny network through each, and through an invented one.

GPUs are fakes whose engines compute what ONNX Runtime computes on the CPU.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import tiny_network as tiny
from abacus.target import TARGET as ABACUS
from fake_gpu import FakeGpu
from fake_ort_cuda import OrtGpu
from programs import run_python

from mahtrt.bundle.records import Precision
from mahtrt.errors import BuildError, ModelError, UsageError
from mahtrt.runtime import Session
from mahtrt.spec import DecodeSpec, OutputSpec
from mahtrt.targets.backend import EngineToOpen, check_interface
from mahtrt.targets.graph_kinds import FloatType, Fp32, GraphKind
from mahtrt.targets.table import TARGETS, find_target
from mahtrt.targets.target import EngineOptions, Target

pytestmark = pytest.mark.slow

ONE_THREAD = EngineOptions(threads=1, cache=False)
GPU_VERSIONS = {"tensorrt": "10.16.1", "tensorrt-rtx": "1.7.1"}


@pytest.fixture(params=[*TARGETS, ABACUS.name])
def target(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Target:
    name = str(request.param)
    if name in GPU_VERSIONS:
        FakeGpu(name, GPU_VERSIONS[name], monkeypatch)
    if name == "onnxruntime-cuda":
        OrtGpu(monkeypatch)
    return ABACUS if name == ABACUS.name else find_target(name)


def test_an_engine_says_what_it_is(target: Target, tmp_path: Path) -> None:
    path = tiny.save(tiny.make_model(batch=2), tmp_path)
    target.check(ONE_THREAD)
    artifact = target.build(path, "fp32", tmp_path / "out", ONE_THREAD)
    assert artifact.batch == 2
    assert artifact.files["onnx"] == path
    assert all(place.is_file() for place in artifact.files.values())
    assert next(iter(artifact.versions)) == target.name
    assert artifact.device
    assert artifact.notes == ()
    record = artifact.record(target.name, "fp32")
    assert target.can_run(record)
    assert "\n" not in target.describe_build(record)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_an_engine_finds_the_landmarks_from_its_own_files(
    target: Target, precision: Precision, tmp_path: Path
) -> None:
    model = tiny.make_model() if precision == "fp32" else tiny.make_int8_model()
    artifact = target.build(tiny.save(model, tmp_path), precision, tmp_path / "out", ONE_THREAD)
    record = artifact.record(target.name, precision)
    for role, place in artifact.files.items():
        if role not in target.roles(record):
            place.unlink()
    backend = target.open(EngineToOpen(record, artifact.files, tiny.SPEC, threads=1))
    assert backend.threads in (1, None)  # its own, as a bench reports them
    with Session(backend, tiny.SPEC) as session:
        for seed in range(4):
            image, points = tiny.make_image(seed, zoom=2)
            np.testing.assert_allclose(session.run(image).points, points, atol=5e-3)


def test_layers_are_timed(target: Target, tmp_path: Path) -> None:
    artifact = target.build(
        tiny.save(tiny.make_model(), tmp_path), "fp32", tmp_path / "out", ONE_THREAD
    )
    record = artifact.record(target.name, "fp32")
    backend = target.open(EngineToOpen(record, artifact.files, tiny.SPEC))
    feed = {"image": np.zeros((1, 3, *tiny.SIZE), np.float32)}
    layers = target.profile(artifact, backend, feed, threads=1)
    assert layers
    assert all(layer.name and layer.ms >= 0 for layer in layers)
    backend.close()


def test_a_graph_that_cannot_be_compiled(target: Target, tmp_path: Path) -> None:
    model = tiny.make_model()
    model.graph.node[0].op_type = "Convolve"
    with pytest.raises(BuildError, match="Convolve") as caught:
        target.build(tiny.save(model, tmp_path), "fp32", tmp_path / "out", ONE_THREAD)
    assert caught.value.expected
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_onnx(target: Target, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\xff" * 100)
    with pytest.raises(BuildError):
        target.build(tmp_path / "model.onnx", "fp32", tmp_path / "out", ONE_THREAD)


def test_dynamic_shapes_are_refused(target: Target, tmp_path: Path) -> None:
    model = tiny.make_model()
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    del model.graph.value_info[:]
    with pytest.raises(ModelError, match="expected static shapes"):
        target.build(tiny.save(model, tmp_path), "fp32", tmp_path / "out", ONE_THREAD)


def test_every_precision_has_a_graph(target: Target) -> None:
    assert target.float_type("fp32") in get_args(FloatType)
    kinds: dict[str, GraphKind] = {p: target.graph_kind(p) for p in target.precisions}
    assert kinds["fp32"] == Fp32()
    names = [kind.file_name for kind in kinds.values()]
    assert names[0] == "model.onnx"
    assert all(name.startswith("model.") for name in names)
    assert target.graph_kind("int8", weight_bits=7).name == kinds["int8"].name
    assert target.weight_bits(7) == 7
    assert target.weight_bits(None) in (7, 8)


def test_a_target_says_whether_it_runs_here(target: Target) -> None:
    finding = target.finding()
    assert finding.detail
    assert finding.able or finding.fix
    assert target.runs_here is finding.able
    assert target.reference().runs_here


def test_unknown_targets_list_the_known() -> None:
    assert [find_target(name).name for name in TARGETS] == list(TARGETS)
    with pytest.raises(UsageError, match=f"expected one of {', '.join(TARGETS)}"):
        find_target("coreml")


INPUTS = {"image": (2, 3, 32, 48)}
OUTPUTS = {
    "landmarks": (2, 3, 2),
    "confidence": (2, 3),
    "spread": (2, 3),
    "heatmaps": (2, 3, 16, 24),
}


def test_the_network_must_be_the_spec_s() -> None:
    assert check_interface("x", tiny.SPEC, INPUTS, OUTPUTS) == 2
    with pytest.raises(ModelError, match="expected also heatmaps"):
        check_interface("x", tiny.SPEC, INPUTS, dict(list(OUTPUTS.items())[:3]))
    for wrong in ({"x": (1, 3, 32, 48)}, {"image": (1, 3, 8, 8)}, {**INPUTS, "mask": (1,)}):
        with pytest.raises(ModelError, match=r"expected image \(batch, 3, 32, 48\)"):
            check_interface("x", tiny.SPEC, wrong, OUTPUTS)


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("landmarks", (2, 4, 2), "2 of each of 3 landmarks, batch 2"),
        ("landmarks", (1, 3, 2), "2 of each of 3 landmarks, batch 2"),
        ("spread", (2, 3, 2), "1 of each of 3 landmarks, batch 2"),
        ("heatmaps", (1, 3, 16, 24), "static, 2 first"),
        ("heatmaps", ("batch", 3, 16, 24), "static, 2 first"),
        ("heatmaps", (), "static, 2 first"),
    ],
)
def test_outputs_of_another_size_are_refused_before_they_are_decoded(
    name: str, shape: tuple[int, ...], expected: str
) -> None:
    with pytest.raises(ModelError, match=f"output {name} of shape .*expected {expected}"):
        check_interface("x", tiny.SPEC, INPUTS, {**OUTPUTS, name: shape})


@pytest.mark.parametrize(
    ("name", "expected"),
    [("seen", "1 of each of 3 landmarks, batch 2"), ("findings", "1 of each of 2 labels, batch 2")],
)
def test_visibility_and_logits_have_a_number_of_each(name: str, expected: str) -> None:
    others = (
        OutputSpec("seen", "visibility"),
        OutputSpec("findings", "logits", labels=("a", "b")),
    )
    spec = replace(tiny.SPEC, outputs=(*tiny.SPEC.outputs, *others), decode=DecodeSpec("none"))
    given = {**OUTPUTS, "seen": (2, 3), "findings": (2, 2)}
    assert check_interface("x", spec, INPUTS, given) == 2
    with pytest.raises(ModelError, match=f"output {name} of shape .*expected {expected}"):
        check_interface("x", spec, INPUTS, {**given, name: (2, 4)})


DEPLOYMENT_HOST = """
import sys
from pathlib import Path

sys.modules.update(dict.fromkeys(("torch", "onnx", "pycuda", "tensorrt", "pydicom", "timm")))
import numpy as np
from mahtrt.targets.table import all_targets, find_target

assert [target.finding().detail for target in all_targets()]
assert not {"openvino", "onnxruntime", "tensorrt_rtx_bindings"} & set(sys.modules), "only looked at"

from mahtrt.bundle.bundle import verify_bundle
from mahtrt.bundle.golden import read_golden
from mahtrt.runtime import open_session

bundle, out = verify_bundle(sys.argv[1]), Path(sys.argv[2])
for name in ("openvino", "onnxruntime"):
    with open_session(bundle.path, engine=name, threads=1) as session:
        for vector in read_golden(bundle):
            points = session.run(vector.image).points
            assert np.abs(points - vector.points_px).max() < 2e-3
    assert find_target(name).build(bundle.file("model.onnx").place, "fp32", out / name).batch == 1
print("ran")
"""


def test_a_deployment_host_runs_and_builds_without_torch_and_onnx(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    result = run_python("-W", "error", "-c", DEPLOYMENT_HOST, tiny_bundle, tmp_path)
    assert (result.stdout, result.stderr) == ("ran\n", "")
