"""Planning for TensorRT, on a fake GPU."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from fake_gpu import FakeGpu
from onnx import TensorProto, numpy_helper
from planning_fixtures import Photographs
from tiny_graphs import feeds, smooth_images

from mahtrt.bundle.plan import load_plan, save_plan
from mahtrt.calibration.int8_check import check_int8
from mahtrt.cuda.probe import CudaProbe
from mahtrt.errors import BuildError, GateError, MahtrtError, MissingComponentError
from mahtrt.graph.describe import describe_graph
from mahtrt.graph.graph_file import GraphFile
from mahtrt.measure.limits import Limits
from mahtrt.planning.blocks import Candidate, compose
from mahtrt.planning.gains import OTHER, find_owners, time_by_block
from mahtrt.planning.planner import PlanOptions, make_plan
from mahtrt.planning.proposals import ALL_FLOAT
from mahtrt.planning.recipe import NetworkToPlan
from mahtrt.planning.sensitivity import SensitivityOptions, measure_sensitivity
from mahtrt.planning.workbench import BenchSettings, TargetBench
from mahtrt.precision.half import to_half
from mahtrt.targets.layers import Layer
from mahtrt.targets.table import find_target
from mahtrt.targets.target import EngineOptions
from mahtrt.targets.tensorrt import build as builder
from mahtrt.targets.tensorrt import profile as tensorrt_layers
from mahtrt.targets.tensorrt.options import TensorRtOptions
from mahtrt.targets.tensorrt.profile import layers_with_origins

pytestmark = pytest.mark.slow

KINDS = [("tensorrt", "10.16.1"), ("tensorrt", "11.4.0"), ("tensorrt-rtx", "1.7.1")]
BLOCK = "decoder.blocks.0"
NO_DRIVER = CudaProbe(problem="no NVIDIA driver (libcuda.so.1 cannot be loaded)")


@pytest.fixture(params=KINDS, ids=lambda kind: "-".join(kind))
def gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    target, version = request.param
    return FakeGpu(target, version, monkeypatch)


@pytest.fixture
def settings(tmp_path: Path) -> BenchSettings:
    engine = EngineOptions(threads=1, cache_dir=tmp_path / "cache")
    return BenchSettings(engine, images=2, rounds=9, min_rounds=9)


def types_of(model: onnx.ModelProto) -> set[int]:
    return {weight.data_type for weight in model.graph.initializer}


def test_candidates_are_half_graphs_with_8_bit_weights(
    gpu: FakeGpu, network: NetworkToPlan, settings: BenchSettings
) -> None:
    graph, candidates = network.graph, network.candidates
    bits = find_target(gpu.target).weight_bits(None)
    network = replace(network, recipe=replace(network.recipe, weight_bits=bits))
    told: list[str] = []
    with TargetBench(network, gpu.target, Photographs(2), settings, tell=told.append) as bench:
        assert bench.float_precision == "fp16"
        nothing, one = compose(candidates, ()), compose(candidates, [BLOCK])
        moved: list[Any] = [bench.accuracy(plan).mean_px for plan in (nothing, one)]
        assert 0 < moved[0] < 0.1, "FP16 against the FP32 of a CPU"
        assert moved[1] > 0
        floating, quantised = gpu.built
        expected = to_half(graph.proto, "fp16")
        assert floating.SerializeToString(deterministic=True) == expected.SerializeToString(
            deterministic=True
        )
        assert TensorProto.INT8 not in types_of(floating)
        weights = [w for w in quantised.graph.initializer if w.name.endswith("weight_int8")]
        assert weights
        assert max(np.abs(numpy_helper.to_array(w)).max() for w in weights) == 127
        scales = {w.data_type for w in quantised.graph.initializer if w.name.endswith("_scale")}
        assert scales == {TensorProto.FLOAT16}
        assert any(told), "a build tells of itself"
    gpu.cuda.check()


def test_layer_times_are_those_of_the_engine(
    gpu: FakeGpu, network: NetworkToPlan, settings: BenchSettings
) -> None:
    candidates = network.candidates
    with TargetBench(network, gpu.target, Photographs(1), settings) as bench:
        nothing, one = compose(candidates, ()), compose(candidates, [BLOCK])
        before, after = bench.block_times_ms(nothing), bench.block_times_ms(one)
        assert len(gpu.built) == 2, "no engine is built for its profile alone"
        products = len(next(c for c in candidates if c.name == BLOCK).nodes)
        assert before[BLOCK] - after[BLOCK] == pytest.approx(0.5 * products)
        assert before["head.refine"] == after["head.refine"] == pytest.approx(1.0)
        bench.race({"float": nothing, "one": one}, seconds=0.0, seed=0)
        contexts = gpu.trt.state.called("ICudaEngine.create_execution_context")
        assert len(contexts) == 4, "a profile has a context of its own"
    gpu.cuda.check()


@pytest.mark.parametrize("int8_float", ["bf16", "fp32"])
def test_the_floating_part_can_be_another(
    int8_float: Any,
    network: NetworkToPlan,
    settings: BenchSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    candidates = network.candidates
    gpu = FakeGpu(*KINDS[0], monkeypatch)
    with TargetBench(
        network, gpu.target, Photographs(1), replace(settings, int8_float=int8_float)
    ) as bench:
        assert bench.float_precision == int8_float
        bench._engine(compose(candidates, ()))
        kind = TensorProto.BFLOAT16 if int8_float == "bf16" else TensorProto.FLOAT
        assert kind in types_of(gpu.built[0])
        assert TensorProto.FLOAT16 not in types_of(gpu.built[0])


def test_a_network_is_planned(
    gpu: FakeGpu, network: NetworkToPlan, settings: BenchSettings, tmp_path: Path
) -> None:
    graph, recipe = network.graph, network.recipe
    matrix = measure_sensitivity(
        network, feeds(smooth_images(2, seed=5)), SensitivityOptions(threads=1)
    )
    result = make_plan(
        PlanOptions(Limits(5.0, 50.0), minutes=0.02, bench=settings),
        network,
        matrix,
        gpu.target,
        Photographs(2),
    )
    assert result.uses_int8
    assert (result.target, result.float_precision) == (gpu.target, "fp16")
    assert f"of fp16's time on {gpu.target}" in result.conclusion
    chosen = [b for b in result.plan.blocks if b.precision == "int8"]
    assert all(b.gain_ms == pytest.approx(0.5 * len(b.nodes)) for b in chosen)
    timed = {row.name: row.p50_ms for row in result.rows}
    products = sum(len(b.nodes) for b in chosen)
    assert timed[ALL_FLOAT] - min(timed.values()) == pytest.approx(0.5 * products)
    assert not any(b.name.startswith("encoder") for b in chosen)
    save_plan(result.plan, tmp_path / "plan.json")
    again = load_plan(tmp_path / "plan.json")
    assert again == result.plan
    made = recipe.apply(to_half(graph.proto, "fp16"), again)
    check_int8(describe_graph(made), again)
    gpu.cuda.check()


def test_int8_that_is_slower_is_not_planned(
    network: NetworkToPlan, settings: BenchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where reformats eat up what INT8 gains."""
    gpu = FakeGpu(*KINDS[0], monkeypatch)
    gpu.int8_ms = 1.5
    matrix = measure_sensitivity(network, feeds(smooth_images(1)), SensitivityOptions(threads=1))
    options = PlanOptions(Limits(5.0, 50.0), minutes=1e-3, bench=settings)
    result = make_plan(options, network, matrix, gpu.target, Photographs(1))
    assert not result.uses_int8
    assert "INT8 does not pay on tensorrt" in result.conclusion
    assert "all fp16" in result.conclusion


def test_int8_engines_that_give_no_numbers_are_not_planned(
    network: NetworkToPlan, settings: BenchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = FakeGpu(*KINDS[0], monkeypatch)
    gpu.breaks = BLOCK
    matrix = measure_sensitivity(network, feeds(smooth_images(1)), SensitivityOptions(threads=1))
    options = PlanOptions(Limits(5.0, 50.0), minutes=0.05, bench=settings)
    result = make_plan(options, network, matrix, gpu.target, Photographs(1))
    chosen = {b.name for b in result.plan.blocks if b.precision == "int8"}
    assert chosen
    assert BLOCK not in chosen


@pytest.mark.parametrize("target", ["tensorrt", "tensorrt-rtx"])
def test_without_a_gpu_planning_is_refused_up_front(
    target: str, network: NetworkToPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt_layers, "probe_cuda", lambda: NO_DRIVER)

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("nothing may be built")

    monkeypatch.setattr(builder, "run_child", never)
    with pytest.raises(MissingComponentError, match=f"planning for target {target}") as caught:
        TargetBench(network, target, Photographs(1))
    text = str(caught.value)
    assert caught.value.exit_code == 6
    assert "no NVIDIA driver" in text
    assert "an NVIDIA GPU" in text
    assert "--target openvino" in text
    assert "--plan FILE" in text


def test_engines_for_other_gpus_cannot_be_planned_with(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeGpu("tensorrt-rtx", "1.7.1", monkeypatch)
    target = find_target("tensorrt-rtx")
    target.check_timing(EngineOptions())
    other = TensorRtOptions(compute_capabilities=("SM120",))
    with pytest.raises(MissingComponentError, match=r"engines for SM120, which NVIDIA RTX 4090"):
        target.check_timing(EngineOptions(target_options=(other,)))


def test_numbers_beyond_fp16_are_refused_up_front(
    network: NetworkToPlan, settings: BenchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, gpu = network.graph, FakeGpu(*KINDS[0], monkeypatch)
    proto = onnx.ModelProto()
    proto.CopyFrom(graph.proto)
    bias = next(w for w in proto.graph.initializer if w.name == "encoder.stem.bias")
    large = np.full(numpy_helper.to_array(bias).shape, 6e4, np.float32)
    bias.CopyFrom(numpy_helper.from_array(large, bias.name))
    network = replace(network, graph=replace(graph, proto=proto))
    with pytest.raises(GateError, match="beyond its range") as caught:
        TargetBench(network, gpu.target, Photographs(1), settings)
    assert "--bf16" in str(caught.value)
    assert gpu.built == []


def test_an_engine_without_layer_times(
    network: NetworkToPlan, settings: BenchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidates = network.candidates
    gpu = FakeGpu(*KINDS[0], monkeypatch)
    plan = compose(candidates, ())
    with TargetBench(network, gpu.target, Photographs(1), settings) as bench:
        backend: Any = bench._engine(plan).backend
        monkeypatch.setitem(backend._engine._record, "layers", [])
        monkeypatch.setattr(gpu.trt.state, "on_execute", lambda context: True)
        with pytest.raises(MahtrtError, match="no layer times"):
            bench.block_times_ms(plan)
        monkeypatch.setattr(gpu.trt.state, "on_enqueue", lambda context: False)
        with pytest.raises(MahtrtError, match="refuses the inference"):
            bench.block_times_ms(plan)
    gpu.cuda.check()


def test_a_target_that_refuses_the_floating_graph(
    network: NetworkToPlan, settings: BenchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidates = network.candidates
    gpu = FakeGpu(*KINDS[0], monkeypatch)
    gpu.trt.state.build_errors.append("no kernel for it")
    with (
        TargetBench(network, gpu.target, Photographs(1), settings) as bench,
        pytest.raises(BuildError, match="no kernel for it"),
    ):
        bench.block_times_ms(compose(candidates, ()))


INSPECTOR = {
    "Layers": [
        {
            "Name": "Reformatting CopyNode for Input Tensor 0 to __myl_Conv_myl0_1",
            "Inputs": [{"Name": "image"}],
            "Outputs": [{"Name": "__mye1"}],
            "Metadata": "",
        },
        {
            "Name": "__myl_Conv_myl0_1",
            "Inputs": [{"Name": "__mye1"}],
            "Outputs": [{"Name": "__mye2"}],
            "Metadata": "[ONNX Layer: head.refine]\x1f[ONNX Layer: head.relu]",
        },
        {
            "Name": "__myl_ConvSigm_myl0_2",
            "Inputs": [{"Name": "__mye2"}],
            "Outputs": [{"Name": "heatmaps"}],
            "Metadata": "[ONNX Layer: head.heatmaps]\x1e[ONNX Layer: head.sigmoid]",
        },
    ]
}


def test_layers_that_hide_their_nodes_are_found_by_the_inspector(
    graph: GraphFile, candidates: tuple[Candidate, ...]
) -> None:
    times = {str(layer["Name"]): 1.0 for layer in INSPECTOR["Layers"]} | {"__myl_Move": 0.25}
    layers = layers_with_origins(times, json.loads(json.dumps(INSPECTOR)))
    found = {layer.name: layer for layer in layers}
    assert found["__myl_Conv_myl0_1"].origins[:2] == ("head.refine", "head.relu")
    assert found["__myl_Conv_myl0_1"].readers == ("__myl_ConvSigm_myl0_2",)
    blocks = time_by_block(layers, find_owners(graph.proto, candidates))
    # The conversion is the time of the layer that reads it.
    assert blocks == {"head.refine": 2.0, "head.heatmaps": 1.0, OTHER: 0.25}


@pytest.mark.parametrize(
    "inspector", [{}, {"Layers": ["head.refine"]}, {"Layers": [{"Name": "head.refine"}]}, []]
)
def test_without_the_inspector_the_names_have_to_do(inspector: Any) -> None:
    (layer,) = layers_with_origins({"head.refine": 1.0}, inspector)
    assert layer == Layer("head.refine", ("head.refine",), 1.0)
