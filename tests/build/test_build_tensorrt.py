"""Bundles with TensorRT-RTX engines, made by the real builder on a machine without a GPU."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from build_options import make_options
from foreign_network import ForeignNetwork
from rendering import report_text

from mahtrt.benchmarks.bench import bench
from mahtrt.benchmarks.options import BenchOptions
from mahtrt.build import calibrated as calibrated_module
from mahtrt.build.build import build
from mahtrt.build.judge import AccuracyError
from mahtrt.build.options import BuildOptions
from mahtrt.build.request import check
from mahtrt.build.result import BuildResult
from mahtrt.bundle.bundle import read_bundle
from mahtrt.cuda.probe import probe_cuda
from mahtrt.errors import GateError, MissingComponentError
from mahtrt.measure.limits import Limits
from mahtrt.progress import silent
from mahtrt.runtime.opening import open_session
from mahtrt.runtime.verify import VerifyOptions, verify
from mahtrt.targets.tensorrt.options import TensorRtOptions

PRECISIONS = ("fp32", "fp16", "bf16", "int8")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(probe_cuda().devices), reason="says what happens without a GPU, and here is one"
    ),
]


def options(network: ForeignNetwork, out: Path, **changed: Any) -> BuildOptions:
    asked = {
        "precisions": PRECISIONS,
        "targets": ("tensorrt-rtx",),
        "target_options": (TensorRtOptions(compute_capabilities=("SM89",)),),
    }
    return make_options(network, out, **(asked | changed))


@pytest.fixture(scope="module")
def built(foreign_network: ForeignNetwork, tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    return build(options(foreign_network, tmp_path_factory.mktemp("rtx") / "net.mahtrt"))


def test_every_precision_is_built_from_its_own_graph(built: BuildResult) -> None:
    graphs = {engine.name: engine.files["onnx"] for engine in built.manifest.engines}
    assert graphs == {
        "tensorrt-rtx-fp32": "model.onnx",
        "tensorrt-rtx-fp16": "model.fp16.onnx",
        "tensorrt-rtx-bf16": "model.bf16-typed.onnx",
        "tensorrt-rtx-int8": "model.int8-fp16.onnx",
    }
    sizes = {}
    for engine in built.manifest.engines:
        plan = built.path / engine.files["plan"]
        assert engine.build.facts.plan_bytes == plan.stat().st_size
        assert engine.build.key.precision == engine.precision
        assert engine.device.capabilities == ("SM89",)
        assert engine.device.name == ""
        sizes[engine.precision] = plan.stat().st_size
    # Of so small a network most is kernels; its FP16 weights still show.
    assert sizes["fp16"] < sizes["fp32"]


def test_the_rest_of_an_int8_engine_is_fp16_with_fp16_scales(built: BuildResult) -> None:
    graph = onnx.load(built.path / "model.int8-fp16.onnx").graph
    types = {weight.name: weight.data_type for weight in graph.initializer}
    scales = {types[node.input[1]] for node in graph.node if node.op_type == "DequantizeLinear"}
    assert scales == {onnx.TensorProto.FLOAT16}
    (int8,) = (graph for graph in built.manifest.graphs if graph.precision == "int8")
    assert (int8.name, int8.weight_bits) == ("int8-fp16", 8)


def test_the_verdict_says_what_it_was_made_on(built: BuildResult) -> None:
    for engine in built.manifest.engines:
        assert "through ONNX Runtime" in engine.verdict.measured_on
        assert engine.latency is None
        assert engine.verdict.passed is True
    moved: dict[str, Any] = {e.precision: e.accuracy.mean_px for e in built.manifest.engines}
    assert moved["fp32"] < moved["fp16"] < moved["bf16"]
    report = json.loads((built.path / "report.json").read_text())
    rows = [row for row in report["rows"] if not row["reference"]]
    assert rows
    assert all(row["p50_ms"] is None and row["runs"] == 0 for row in rows)
    text = report_text(built.report)
    assert "tensorrt-rtx-int8 (graph)" in text
    assert "tensorrt-rtx-int8 cannot run on this machine" in text


def test_the_default_is_what_was_asked_for(built: BuildResult) -> None:
    assert built.manifest.default_engine == "tensorrt-rtx-int8"


def test_what_can_run_is_the_default_and_the_rest_is_left_out(
    foreign_network: ForeignNetwork, tmp_path: Path
) -> None:
    asked = options(
        foreign_network,
        tmp_path / "b.mahtrt",
        precisions=("fp32",),
        targets=("tensorrt-rtx", "onnxruntime"),
    )
    result = build(asked)
    assert result.manifest.default_engine == "onnxruntime-fp32"
    absent = {each.engine: each.absent for each in verify(VerifyOptions(result.path)).replays}
    assert absent["tensorrt-rtx-fp32"].startswith("no NVIDIA driver")
    assert absent["onnxruntime-fp32"] == ""
    report = bench(BenchOptions(result.path, rounds=1))
    assert {row.name for row in report.rows} == {"onnxruntime", "onnxruntime-fp32"}
    assert any("tensorrt-rtx-fp32 is left out" in warning for warning in report.warnings)


def test_running_it_without_a_gpu_is_a_missing_component(built: BuildResult) -> None:
    with pytest.raises(MissingComponentError, match="NVIDIA"):
        open_session(built.path)


def test_the_same_engine_comes_from_the_cache(
    built: BuildResult, foreign_network: ForeignNetwork, tmp_path: Path
) -> None:
    told: list[str] = []

    def progress(stage: str, done: int, total: int, detail: str = "") -> None:
        told.append(detail)

    asked = options(foreign_network, tmp_path / "b.mahtrt", precisions=("fp32",))
    (again,) = build(asked, progress).manifest.engines
    first = built.manifest.engines[0]
    assert (first.build.cached, again.build.cached) == (False, True)
    assert again.build.key == first.build.key
    plans = [(built.path / first.files["plan"]), (tmp_path / "b.mahtrt" / again.files["plan"])]
    assert plans[0].read_bytes() == plans[1].read_bytes()
    assert not any(told)
    asked = dataclasses.replace(
        asked, target_options=(TensorRtOptions(compute_capabilities=("SM89",), workspace_mib=64),)
    )
    (other,) = build(asked, progress).manifest.engines
    assert not other.build.cached
    assert any("workspace_mib" in note for note in other.notes)
    assert any(told)  # the builder tells of itself


def test_over_budget_writes_no_bundle(foreign_network: ForeignNetwork, tmp_path: Path) -> None:
    asked = options(
        foreign_network,
        tmp_path / "b.mahtrt",
        precisions=("bf16",),
        limits=Limits(budget_px=1e-9),
    )
    with pytest.raises(AccuracyError, match="tensorrt-rtx-bf16"):
        build(asked)
    assert not list(tmp_path.iterdir())


def test_int8_that_is_not_in_the_graph_is_exit_3(
    foreign_network: ForeignNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrated_module, "quantize", lambda model, *_, **__: model)
    asked = options(
        foreign_network, tmp_path / "b.mahtrt", precisions=("int8",), bias_correction=False
    )
    with pytest.raises(GateError, match="INT8 graph") as caught:
        build(asked)
    assert caught.value.exit_code == 3
    assert not list(tmp_path.iterdir())


def test_all_targets_that_run_here_are_auto(built: BuildResult, foreign_network: Any) -> None:
    asked = options(foreign_network, built.path, targets=("auto",), target_options=())
    targets = check(asked, silent).targets
    assert targets == ("openvino", "onnxruntime")
    assert read_bundle(built.path).manifest.default_engine == "tensorrt-rtx-int8"


@pytest.mark.parametrize("beside", ["bf16", "fp32"])
def test_int8_beside_other_types(
    beside: str, foreign_network: ForeignNetwork, tmp_path: Path
) -> None:
    asked = options(foreign_network, tmp_path / "b.mahtrt", precisions=("int8",), int8_float=beside)
    (engine,) = build(asked).manifest.engines
    assert engine.files["onnx"] == f"model.int8-{beside}.onnx"
    assert "Q/DQ computed literally" in engine.verdict.measured_on
    moved: Any = engine.accuracy.mean_px
    assert 0 < moved < 0.25
