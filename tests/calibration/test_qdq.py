from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from tiny_graphs import (
    Builder,
    landmark_net,
    plan_of,
    ranges_of,
    smooth_images,
    squeeze_excite,
    tiny_spec,
)

from mahtrt.bundle.plan import Plan
from mahtrt.calibration.methods import METHODS, Method
from mahtrt.calibration.plan import default_plan
from mahtrt.calibration.qdq import (
    METADATA_KEY,
    intervals_of,
    quantize,
    quantized_inputs,
    tensors_to_calibrate,
)
from mahtrt.calibration.ranges import Ranges
from mahtrt.errors import ModelError, SpecError, UsageError
from mahtrt.graph.index import SCOPE_KEY, GraphIndex, scope_of

WEIGHT_AXES = {"Conv": 0, "ConvTranspose": 1, "MatMul": 1, "Gemm": 0}  # the Gemm has transB


@pytest.fixture(scope="module")
def quantized(model: onnx.ModelProto, ranges: Ranges, plan: Plan) -> onnx.ModelProto:
    return quantize(model, ranges, plan)


class Wiring:
    """Names of what each node of a quantised graph reads, through Q/DQ."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.nodes = {node.name: node for node in model.graph.node}
        self.maker = {name: node for node in model.graph.node for name in node.output}
        self.values = {t.name: t for t in model.graph.initializer}

    def is_quantized(self, node: str, slot: int) -> bool:
        maker = self.maker.get(self.nodes[node].input[slot])
        return maker is not None and maker.op_type == "DequantizeLinear"

    def source(self, node: str, slot: int) -> str:
        """The tensor that an input stands for, seen through its Q/DQ pair and its centre."""
        name = self.nodes[node].input[slot]
        for op in ("DequantizeLinear", "QuantizeLinear", "Sub"):
            if name in self.maker and self.maker[name].op_type == op:
                name = self.maker[name].input[0]
        return name


def test_each_planned_product_reads_int8_and_no_other_does(
    model: onnx.ModelProto, quantized: onnx.ModelProto, plan: Plan
) -> None:
    wiring = Wiring(quantized)
    for node in model.graph.node:
        if node.op_type not in WEIGHT_AXES:
            continue
        planned = node.name in plan.int8_nodes
        assert wiring.is_quantized(node.name, 0) == planned, node.name
        assert wiring.is_quantized(node.name, 1) == planned, node.name
        assert wiring.source(node.name, 0) == node.input[0]


def test_the_graph_is_what_tensorrt_accepts(quantized: onnx.ModelProto, plan: Plan) -> None:
    wiring = Wiring(quantized)
    for node in quantized.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero_point = wiring.values[node.input[2]]
            assert zero_point.data_type == TensorProto.INT8
            assert not numpy_helper.to_array(zero_point).any()
            assert (numpy_helper.to_array(wiring.values[node.input[1]]) > 0).all()
    for name in plan.int8_nodes:
        node = wiring.nodes[name]
        weight = wiring.maker[node.input[1]]
        stored = wiring.values[weight.input[0]]
        scales = wiring.values[weight.input[1]]
        axis = WEIGHT_AXES[node.op_type]
        assert stored.data_type == TensorProto.INT8
        assert next(a.i for a in weight.attribute if a.name == "axis") == axis
        assert list(scales.dims) == [stored.dims[axis]]  # per output channel
        activation = wiring.maker[node.input[0]]
        assert list(wiring.values[activation.input[1]].dims) == []  # per tensor
        if len(node.input) > 2:
            assert wiring.values[node.input[2]].data_type == TensorProto.FLOAT  # the bias


def test_a_tensor_is_quantised_once_and_float_consumers_read_the_original(
    quantized: onnx.ModelProto,
) -> None:
    sources = [n.input[0] for n in quantized.graph.node if n.op_type == "QuantizeLinear"]
    assert max(Counter(sources).values()) == 1
    wiring = Wiring(quantized)
    skip = "encoder.blocks.1.relu_out"
    assert wiring.source("encoder.blocks.2.down", 0) == wiring.source("decoder.gates.0.skip", 0)
    assert (
        wiring.nodes["decoder.gates.0.skip"].input[0]
        == (wiring.nodes["encoder.blocks.2.down"].input[0])
    )
    assert skip in wiring.nodes["decoder.gates.0.mul"].input
    assert wiring.nodes["decoder.fusion_relu"].output[0] in (
        wiring.nodes["decoder.blocks.1.concat"].input
    )


def test_a_concat_is_quantised_at_its_output(quantized: onnx.ModelProto) -> None:
    wiring = Wiring(quantized)
    assert wiring.source("decoder.blocks.0.conv1", 0) == "decoder.blocks.0.concat_out"
    assert not any(wiring.is_quantized("decoder.blocks.0.concat", slot) for slot in (0, 1))


def test_residual_beside_an_int8_convolution_is_quantised(
    model: onnx.ModelProto, ranges: Ranges, plan: Plan, quantized: onnx.ModelProto
) -> None:
    add = "decoder.blocks.0.add"  # conv2 + shortcut: the later convolution stays fusible
    wiring = Wiring(quantized)
    assert [wiring.is_quantized(add, slot) for slot in (0, 1)] == [True, False]
    # Attention products, float convolutions and biases are no reason to quantise an Add.
    others = [n.name for n in model.graph.node if n.op_type == "Add" and n.name != add]
    quantized_adds = [n for n in others if any(wiring.is_quantized(n, s) for s in (0, 1))]
    assert quantized_adds == ["decoder.gates.0.add"]  # two INT8 convolutions as well
    without = Wiring(quantize(model, ranges, replace(plan, quantize_residuals=False)))
    assert not without.is_quantized(add, 0)


def test_calibrates_what_it_needs(model: onnx.ModelProto, plan: Plan, ranges: Ranges) -> None:
    needed = tensors_to_calibrate(model, plan)
    assert len(needed) == len(set(needed))
    assert set(needed) == set(ranges.tensors)
    assert "decoder.blocks.0.conv2_out" in needed
    fewer = tensors_to_calibrate(model, replace(plan, quantize_residuals=False))
    assert set(needed) - set(fewer) == {"decoder.blocks.0.conv2_out", "decoder.gates.0.gate_out"}


def test_valid_named_once_with_metadata_kept(
    model: onnx.ModelProto, quantized: onnx.ModelProto, ranges: Ranges
) -> None:
    onnx.checker.check_model(quantized, full_check=True)
    names = [n.name for n in quantized.graph.node]
    assert len(set(names)) == len(names)
    scopes = {n.name: scope_of(n) for n in quantized.graph.node}
    assert all(scopes[n.name] == scope_of(n) for n in model.graph.node)
    pair = next(n for n in quantized.graph.node if "decoder.fusion.weight" in n.input[0])
    assert scope_of(pair) == "decoder.fusion"
    properties = {p.key: p.value for p in quantized.metadata_props}
    assert properties["mahtrt.spec"] == "{}"
    record = json.loads(properties[METADATA_KEY])
    assert record["calibration_digest"] == ranges.digest
    assert (record["method"], record["weight_bits"]) == ("minmax", 8)
    # The float weights are gone, so that the file shrinks.
    stored = {t.name for t in quantized.graph.initializer}
    assert "decoder.fusion.weight" not in stored
    assert {"decoder.fusion.bias", "head.refine.weight"} <= stored


def test_the_same_input_gives_the_same_bytes(
    model: onnx.ModelProto, ranges: Ranges, plan: Plan, quantized: onnx.ModelProto
) -> None:
    before = model.SerializeToString()
    again = quantize(model, ranges, plan)
    assert again.SerializeToString() == quantized.SerializeToString()
    assert model.SerializeToString() == before  # the argument is left alone


@pytest.mark.parametrize("method", METHODS)
def test_quantised_landmarks_stay_close(
    model: onnx.ModelProto,
    ranges: Ranges,
    plan: Plan,
    run_ort: Callable[..., list[np.ndarray]],
    method: str,
) -> None:
    int8 = quantize(model, ranges, plan, method=method)  # type: ignore[arg-type]
    image = smooth_images(1, seed=5)[0][None]
    heatmaps, landmarks = run_ort(model, image=image)
    heatmaps_int8, landmarks_int8 = run_ort(int8, image=image)
    assert np.abs(heatmaps - heatmaps_int8).mean() < 0.05
    assert np.abs(landmarks - landmarks_int8).max() < 0.2
    assert not np.array_equal(heatmaps, heatmaps_int8)


def test_activation_error_is_half_a_step_through_the_graph(
    run_ort: Callable[..., list[np.ndarray]],
) -> None:
    b = Builder()
    weight = b.constant("w", np.eye(32, dtype=np.float32))
    x = b.reshape("image", "rows", (96, 32))
    model = b.model({"y": b.op("MatMul", [x, weight], "product")})
    int8 = quantize(model, ranges_of("rows_out", amax=2.0), plan_of("product"))
    image = np.random.default_rng(0).uniform(-2, 2, (1, 3, 32, 32)).astype(np.float32)
    error = np.abs(run_ort(int8, image=image)[0] - image.reshape(96, 32))
    assert error.max() <= 2.0 / 127 / 2 * 1.001
    saturated = run_ort(int8, image=image * 100)[0]
    assert np.abs(saturated).max() == pytest.approx(2.0 * 128 / 127)


def test_runtimes_agree_on_the_int8_graph(
    model: onnx.ModelProto,
    ranges: Ranges,
    plan: Plan,
    run_ort: Callable[..., list[np.ndarray]],
    run_openvino: Callable[..., list[np.ndarray]],
) -> None:
    # Seven bits: eight saturate in the 16-bit sums of CPUs without VNNI.
    int8 = quantize(model, ranges, plan, weight_bits=7)
    for image in smooth_images(3, seed=7):
        by_definition = run_ort(int8, image=image[None])
        by_openvino = run_openvino(int8, image=image[None])
        for expected, got in zip(by_definition, by_openvino, strict=True):
            assert np.abs(expected - got).mean() < 0.01


def test_seven_bit_weights_are_int8_with_smaller_codes(
    model: onnx.ModelProto, ranges: Ranges, plan: Plan
) -> None:
    int8 = quantize(model, ranges, plan, weight_bits=7)
    codes = [
        numpy_helper.to_array(t).astype(int)
        for t in int8.graph.initializer
        if t.data_type == TensorProto.INT8 and len(t.dims) > 1
    ]
    assert len(codes) == len(plan.int8_nodes)
    assert max(np.abs(c).max() for c in codes) == 63


def test_shared_and_transposed_weights() -> None:
    b = Builder()
    x = b.reshape("image", "rows", (96, 32))
    weight = b.weight("w", (32, 32), 32)
    x = b.op("MatMul", [x, weight], "first")
    x = b.op("MatMul", [x, weight], "second")
    turned = b.op("Transpose", [b.weight("v", (64, 32), 32)], "turn", perm=[1, 0])
    model = b.model({"y": b.op("MatMul", [x, turned], "third")})
    plan = plan_of("first", "second", "third")
    int8 = quantize(model, ranges_of("rows_out", "first_out", "second_out"), plan)
    onnx.checker.check_model(int8, full_check=True)
    stored = {t.name: list(t.dims) for t in int8.graph.initializer if t.data_type == 3}
    assert {name: dims for name, dims in stored.items() if len(dims) == 2} == {
        "w_int8": [32, 32],
        "turn_out_int8": [32, 64],
    }
    assert "turn" not in {n.name for n in int8.graph.node}
    assert not {"w", "v"} & {t.name for t in int8.graph.initializer}


def test_weights_that_a_float_node_shares_are_kept() -> None:
    b = Builder()
    x = b.reshape("image", "rows", (96, 32))
    weight = b.weight("w", (32, 32), 32)
    x = b.op("MatMul", [b.op("MatMul", [x, weight], "first"), weight], "second")
    int8 = quantize(b.model({"y": x}), ranges_of("rows_out"), plan_of("first"))
    assert {"w", "w_int8"} <= {t.name for t in int8.graph.initializer}
    onnx.checker.check_model(int8, full_check=True)


def test_a_dead_channel_and_a_dead_tensor_keep_usable_scales(
    run_ort: Callable[..., list[np.ndarray]],
) -> None:
    b = Builder()
    weight = np.zeros((32, 32), np.float32)
    weight[:, 3] = 1
    x = b.reshape("image", "rows", (96, 32))
    model = b.model({"y": b.op("MatMul", [x, b.constant("w", weight)], "product")})
    int8 = quantize(model, ranges_of("rows_out", amax=0.0), plan_of("product"))
    out = run_ort(int8, image=np.full((1, 3, 32, 32), 0.5, np.float32))[0]
    assert np.isfinite(out).all()
    assert np.flatnonzero(out[0]).tolist() == [3]


def test_foreign_graphs_without_scopes(run_ort: Callable[..., list[np.ndarray]]) -> None:
    model = landmark_net(scopes=False)
    for node in model.graph.node:
        node.name = ""
    plan = default_plan(model, tiny_spec())
    int8 = quantize(model, ranges_of(*tensors_to_calibrate(model, plan), amax=8.0), plan)
    assert len(plan.int8_nodes) == 17
    assert not any(p.key == SCOPE_KEY for n in int8.graph.node for p in n.metadata_props)
    assert np.isfinite(run_ort(int8, image=smooth_images(1)[0][None])[0]).all()


def test_half_precision_graphs_get_half_precision_scales() -> None:
    b = Builder()
    x = b.op("Cast", [b.reshape("image", "rows", (96, 32))], "half", to=TensorProto.FLOAT16)
    weight = b.constant("w", np.eye(32, dtype=np.float16))
    y = b.op("MatMul", [x, weight], "product")
    model = b.model({"y": b.op("Cast", [y], "single", to=TensorProto.FLOAT)})
    int8 = quantize(model, ranges_of("half_out"), plan_of("product"))
    onnx.checker.check_model(int8, full_check=True)
    wiring = Wiring(int8)
    scales = {n.input[1] for n in int8.graph.node if n.op_type == "DequantizeLinear"}
    assert {wiring.values[s].data_type for s in scales} == {TensorProto.FLOAT16}


def test_a_method_for_each_tensor(model: onnx.ModelProto, ranges: Ranges, plan: Plan) -> None:
    tensors = tensors_to_calibrate(model, plan)
    int8 = quantize(model, ranges, plan, method={tensors[0]: "mse", "elsewhere": "entropy"})
    values = {t.name: t for t in int8.graph.initializer}
    graph = GraphIndex(model)
    inputs = quantized_inputs(graph, plan)
    intervals = {
        (tensor, method): interval
        for method in METHODS
        for tensor, interval in intervals_of(graph, inputs, ranges, method).items()
    }
    for tensor in tensors:
        method: Method = "mse" if tensor == tensors[0] else "minmax"
        scale = float(numpy_helper.to_array(values[f"{tensor}_scale"]))
        assert scale == pytest.approx(intervals[tensor, method].amax / 127)
    record = json.loads(next(p.value for p in int8.metadata_props if p.key == METADATA_KEY))
    assert record["method"] == {tensors[0]: "mse"}
    same = quantize(model, ranges, plan, method=dict.fromkeys(tensors, "minmax"))
    assert list(same.graph.initializer) == list(quantize(model, ranges, plan).graph.initializer)


def test_wrong_options_are_refused(model: onnx.ModelProto, ranges: Ranges, plan: Plan) -> None:
    with pytest.raises(UsageError, match="expected minmax or percentile or entropy or mse"):
        quantize(model, ranges, plan, method="max")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="got 'max'"):
        quantize(model, ranges, plan, method={"t": "max"})  # type: ignore[dict-item]
    with pytest.raises(UsageError, match="weight bits: got 4"):
        quantize(model, ranges, plan, weight_bits=4)
    with pytest.raises(SpecError, match="no range of tensor 'encoder"):
        quantize(model, replace(ranges, tensors={}), plan)


def test_a_quantised_model_and_an_old_one_are_refused(
    quantized: onnx.ModelProto, ranges: Ranges, plan: Plan
) -> None:
    with pytest.raises(ModelError, match="got a QuantizeLinear node"):
        quantize(quantized, ranges, plan)
    b = Builder()
    old = b.model({"y": squeeze_excite(b, b.conv("image", "stem", 3, 32), "se", 32)})
    old.opset_import[0].version = 12
    with pytest.raises(ModelError, match="got opset 12"):
        quantize(old, ranges, plan)
