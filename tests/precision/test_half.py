from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_graphs import Builder, landmark_net, plan_of, ranges_of, smooth_images, strict_types

from mahtrt.bundle.plan import Plan
from mahtrt.calibration.qdq import quantize
from mahtrt.calibration.ranges import Ranges
from mahtrt.errors import ModelError, UsageError
from mahtrt.graph.index import GraphIndex, scope_of
from mahtrt.precision.half import METADATA_KEY, to_half
from mahtrt.precision.types import ELEMENT_TYPE, Half, fp32_name

Run = Callable[..., list[np.ndarray]]
BOTH = pytest.mark.parametrize("dtype", ["fp16", "bf16"])


def record_of(model: onnx.ModelProto) -> dict[str, Any]:
    return json.loads(next(p.value for p in model.metadata_props if p.key == METADATA_KEY))


def casts_of(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == "Cast"]


@BOTH
def test_the_graph_is_half_inside_and_fp32_outside(model: onnx.ModelProto, dtype: Half) -> None:
    before = model.SerializeToString()
    half = to_half(model, dtype)
    onnx.checker.check_model(half, full_check=True)
    types = strict_types(half)
    for value in (*half.graph.input, *half.graph.output):
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT == types[value.name]
    for info in half.graph.value_info:
        assert types[info.name] == info.type.tensor_type.elem_type, info.name
    record = record_of(half)
    made = {node.name: node.output[0] for node in half.graph.node}
    assert {types[made[name]] for name in record["half_nodes"]} == {ELEMENT_TYPE[dtype]}
    islands = [name for island in record["fp32_islands"] for name in island["nodes"]]
    assert {types[made[name]] for name in islands} == {TensorProto.FLOAT}
    assert record["dtype"] == dtype
    assert not set(islands) & set(record["half_nodes"])
    assert model.SerializeToString() == before
    assert half.SerializeToString() == to_half(model, dtype).SerializeToString()


@BOTH
def test_nodes_and_interior_tensors_keep_their_names(model: onnx.ModelProto, dtype: Half) -> None:
    half = to_half(model, dtype)
    kept = [(n.name, tuple(n.output)) for n in half.graph.node if n.op_type != "Cast"]
    assert kept == [(n.name, tuple(n.output)) for n in model.graph.node]
    constants = {t.name for t in half.graph.initializer}
    assert constants == {t.name for t in model.graph.initializer}


@BOTH
def test_there_is_one_cast_per_tensor_and_none_of_a_cast(
    model: onnx.ModelProto, dtype: Half
) -> None:
    half = to_half(model, dtype)
    casts = casts_of(half)
    ways = Counter((node.input[0], node.attribute[0].i) for node in casts)
    assert max(ways.values()) == 1
    assert all(node.name for node in casts)
    made = {node.output[0] for node in casts}
    assert not any(node.input[0] in made for node in casts)
    assert {node.input[0]: scope_of(node) for node in casts}.items() >= {
        "image": "encoder.stem",
        "head.heatmaps_out": "head.sigmoid",
    }.items()
    assert len(casts) == (2 if dtype == "fp16" else 4)  # BF16 has an island for ConvTranspose


def test_fp16_runs_and_stays_near(model: onnx.ModelProto, run_ort: Run) -> None:
    image = smooth_images(1, seed=4)[0][None]
    exact, half = run_ort(model, image=image), run_ort(to_half(model, "fp16"), image=image)
    assert [v.dtype for v in half] == [np.float32] * 2
    assert 0 < np.abs(exact[0] - half[0]).max() < 0.005
    assert np.abs(exact[1] - half[1]).max() < 0.1


def test_a_constant_that_both_sides_read_is_stored_twice() -> None:
    b = Builder()
    shared = b.constant("shared", np.array(0.1, np.float32))
    lone = b.constant("lone", np.array(0.3, np.float32))
    x = b.op("Mul", [b.op("Mul", [b.conv("image", "first", 3, 32), shared], "a"), lone], "b")
    y = b.op("Mul", [b.conv(x, "last", 32, 32), shared], "tail")
    half = to_half(b.model({"y": y}), "fp16")
    values = {t.name: numpy_helper.to_array(t) for t in half.graph.initializer}
    assert values["shared"] == np.float32(0.1)
    assert values["shared"].dtype == np.float32
    assert values["shared_fp16"] == np.float16(0.1)
    assert values["shared_fp16"].dtype == np.float16
    assert values["lone"].dtype == np.float16
    inputs = {node.name: list(node.input) for node in half.graph.node}
    assert inputs["a"][1] == "shared_fp16"
    assert inputs["tail"][1] == "shared"


def test_transposed_weights_become_half_constants() -> None:
    b = Builder()
    weight = b.op("Transpose", [b.weight("w", (32, 32), 32)], "turned", perm=[1, 0])
    x = b.op("Relu", [b.op("MatMul", ["image", weight], "first")], "relu")
    model = b.model({"y": b.op("Relu", [b.op("MatMul", [x, weight], "second")], "out")})
    half = to_half(model, "fp16")
    onnx.checker.check_model(half, full_check=True)
    node = next(n for n in half.graph.node if n.name == "first")
    value = next(t for t in half.graph.initializer if t.name == node.input[1])
    original = numpy_helper.to_array(model.graph.initializer[0])
    np.testing.assert_array_equal(numpy_helper.to_array(value), original.T.astype(np.float16))


def two_stages() -> onnx.ModelProto:
    """A graph output that a half node makes and a later stage reads; an island in the middle."""
    b = Builder()
    x = b.conv("image", "first", 3, 32)
    b.nodes[-1].output[0] = "early"
    x = b.op("Exp", ["early"], "exp")
    x = b.op("Relu", [b.conv(x, "last", 32, 32)], "relu")
    again = b.conv("early", "again", 32, 32)
    model = b.model({"y": b.op("Add", [x, again], "join")})
    model.graph.output.append(
        helper.make_tensor_value_info("early", TensorProto.FLOAT, [1, 32, 32, 32])
    )
    return model


def test_an_output_of_a_half_node_is_cast_and_read_on_in_half(run_ort: Run) -> None:
    model = two_stages()
    half = to_half(model, "fp16")
    onnx.checker.check_model(half, full_check=True)
    nodes = {node.name: node for node in half.graph.node}
    assert list(nodes["first"].output) == ["early_fp16"]
    assert nodes["again"].input[0] == "early_fp16"
    assert nodes["exp"].input[0] == "early"
    assert scope_of(nodes["early_Cast"]) == "first"
    image = smooth_images(1)[0][None]
    for exact, value in zip(run_ort(model, image=image), run_ort(half, image=image), strict=True):
        np.testing.assert_allclose(value, exact, rtol=0.02, atol=0.02)


def test_every_tensor_leads_back_to_its_fp32_name() -> None:
    model = two_stages()
    half = GraphIndex(to_half(model, "fp16"))
    originals = {name for node in model.graph.node for name in node.input if name}
    read = {
        name for node in half.nodes for name in node.input if name and not half.is_constant(name)
    }
    assert {"early_fp16", "exp_out_fp16", "image_fp16"} <= read
    assert {fp32_name(half, name) for name in read} <= originals
    assert fp32_name(half, "exp_out_fp16") == "exp_out"
    assert fp32_name(half, "early_fp16") == "early"
    plain = GraphIndex(model)
    assert all(fp32_name(plain, name) == name for name in originals)


SCALES = {"fp16": np.float16, "bf16": ml_dtypes.bfloat16}


@BOTH
def test_int8_is_put_into_a_half_graph_with_scales_of_its_type(
    model: onnx.ModelProto, ranges: Ranges, plan: Plan, dtype: Half
) -> None:
    int8 = quantize(to_half(model, dtype), ranges, plan, weight_bits=8)
    onnx.checker.check_model(int8, full_check=True)
    types = strict_types(int8)
    constants = {t.name: numpy_helper.to_array(t) for t in int8.graph.initializer}
    islands = {n for i in record_of(int8)["fp32_islands"] for n in i["nodes"]}
    nodes = {node.name: node for node in int8.graph.node}
    pairs = {node.output[0]: node for node in int8.graph.node if node.op_type == "DequantizeLinear"}
    for name in plan.int8_nodes:
        want = np.float32 if name in islands else SCALES[dtype]
        for tensor in nodes[name].input[:2]:
            assert constants[pairs[tensor].input[1]].dtype == want, name
            assert types[tensor] == types[nodes[name].output[0]]


def test_ranges_are_found_where_a_cast_stands_between() -> None:
    model = two_stages()
    half = to_half(model, "fp16")
    int8 = quantize(half, ranges_of("exp_out", "early"), plan_of("last", "again"))
    assert Counter(n.op_type for n in int8.graph.node)["QuantizeLinear"] == 2
    onnx.checker.check_model(int8, full_check=True)


def test_tiny_fp16_scales_never_become_zero() -> None:
    model = two_stages()
    int8 = quantize(to_half(model, "fp16"), ranges_of("exp_out", amax=1e-9), plan_of("last"))
    scales = [t for t in int8.graph.initializer if t.name.endswith("_scale")]
    assert scales
    assert all((numpy_helper.to_array(t) > 0).all() for t in scales)


def test_other_types_are_refused(model: onnx.ModelProto) -> None:
    with pytest.raises(UsageError, match="got 'fp8'; expected fp16 or bf16"):
        to_half(model, "fp8")  # type: ignore[arg-type]


def test_models_that_are_not_plain_fp32_are_refused(
    model: onnx.ModelProto, ranges: Ranges, plan: Plan
) -> None:
    with pytest.raises(ModelError, match="got a QuantizeLinear node"):
        to_half(quantize(model, ranges, plan), "fp16")
    with pytest.raises(
        ModelError, match=r"tensor 'image_fp16' in half precision; expected an FP32"
    ):
        to_half(to_half(model, "fp16"), "fp16")
    dynamic = landmark_net()
    dynamic.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    del dynamic.graph.value_info[:]
    with pytest.raises(ModelError, match=r"node 'encoder.stem'.* without a static shape"):
        to_half(dynamic, "fp16")


def test_control_flow_is_refused_by_name() -> None:
    b = Builder()
    condition = b.constant("yes", np.array(True))
    x = b.conv("image", "first", 3, 32)
    info = [helper.make_tensor_value_info("same", TensorProto.FLOAT, [1, 32, 32, 32])]
    body = helper.make_graph([helper.make_node("Identity", [x], ["same"])], "body", [], info)
    branch = b.op("If", [condition], "branch", then_branch=body, else_branch=body)
    with pytest.raises(ModelError, match="node 'branch': got If with a body"):
        to_half(b.model({"y": b.conv(branch, "last", 32, 32)}), "fp16")


def test_constants_that_lose_something_are_recorded() -> None:
    b = Builder()
    value = np.ones((32, 32, 1, 1), np.float32)
    value[3], value[5, 0] = 1e-6, 1e-10
    x = b.op("Conv", [b.conv("image", "first", 3, 32), b.constant("faint", value)], "second")
    half = to_half(b.model({"y": b.conv(x, "last", 32, 32)}), "fp16")
    faint = record_of(half)["lossy_constants"]["faint"]
    assert (faint["vanishing"], faint["subnormal"], faint["lost_channels"]) == (1, 32, 1)


@pytest.mark.parametrize(
    ("form", "dtype"), [("value_float", "fp16"), ("value_floats", "fp16"), ("value_float", "bf16")]
)
def test_constants_in_every_form_become_half(form: str, dtype: Half) -> None:
    value = 1.5 if form == "value_float" else [1.5]
    weight = np.random.default_rng(0).normal(size=(16, 16, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Constant", [], ["c"], **{form: value}),  # type: ignore[arg-type]
            helper.make_node("Constant", [], ["shape"], value_ints=[1, 1024]),
            helper.make_node("Conv", ["x", "w"], ["before"], pads=[1, 1, 1, 1]),
            helper.make_node("Mul", ["before", "c"], ["scaled"]),
            helper.make_node("Conv", ["scaled", "w"], ["after"], pads=[1, 1, 1, 1]),
            helper.make_node("Reshape", ["after", "shape"], ["out"]),
        ],
        "constants",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16, 8, 8])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 1024])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    half = to_half(model, dtype)
    onnx.checker.check_model(half, full_check=True)
    assert [tensor.data_type for tensor in half.graph.initializer] == [ELEMENT_TYPE[dtype]] * 2
    assert strict_types(half)["scaled"] == ELEMENT_TYPE[dtype]
    assert GraphIndex(half).constant("shape").tolist() == [1, 1024]
