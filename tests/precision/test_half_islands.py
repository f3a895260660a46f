from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper
from tiny_graphs import Builder, landmark_net

from mahtrt.errors import ModelError
from mahtrt.graph.index import GraphIndex
from mahtrt.precision.islands import MAX_SOFTMAX_VALUES, Islands
from mahtrt.precision.opset import with_bf16_opset
from mahtrt.precision.types import Half

WIDTH = 32
Middle = Callable[[Builder, str], str]


def between_convolutions(middle: Middle) -> onnx.ModelProto:
    b = Builder()
    x = middle(b, b.conv("image", "first", 3, WIDTH))
    return b.model({"y": b.conv(x, "last", WIDTH, WIDTH, 1)})


def reasons(model: onnx.ModelProto, dtype: Half = "fp16") -> dict[str, str]:
    """Node -> why it stays FP32, but for what only hands on an output."""
    graph = GraphIndex(with_bf16_opset(model) if dtype == "bf16" else model)
    found = Islands(graph, dtype).reasons
    keys = {graph.keys[position]: reason for position, reason in found.items()}
    return {key: reason for key, reason in keys.items() if not key.startswith("output_")}


def scalar(b: Builder, name: str, value: float) -> str:
    return b.constant(name, np.array(value, np.float32))


def normalised(b: Builder, x: str, epsilon: float) -> str:
    """x / sqrt(mean(x^2) + epsilon), written out."""
    axes = b.constant("axes", np.array([1], np.int64))
    square = b.op("Mul", [x, x], "square")
    mean = b.op("ReduceMean", [square, axes], "mean", keepdims=1)
    root = b.op("Sqrt", [b.op("Add", [mean, scalar(b, "epsilon", epsilon)], "add")], "root")
    return b.op("Div", [x, root], "divide")


def test_decoding_is_an_island_and_the_network_is_not() -> None:
    found = reasons(landmark_net())
    decoding = {"head.sigmoid", *(f"soft_argmax.{n}" for n in ("flatten", "softmax", "product"))}
    assert found == dict.fromkeys(decoding, "after the last product on the way to an output")


def test_the_product_of_a_regression_head_is_an_island() -> None:
    b = Builder()
    pooled = b.op("GlobalAveragePool", [b.conv("image", "first", 3, WIDTH)], "pool")
    flat = b.reshape(pooled, "flat", (1, WIDTH))
    hidden = b.op("Relu", [b.linear(flat, "hidden", WIDTH, 64)], "relu")
    found = reasons(b.model({"landmarks": b.linear(hidden, "points", 64, 38)}))
    assert found["points"] == "matrix product that makes an output"
    assert "hidden" not in found
    assert "first" not in found


def test_a_written_out_normalisation_is_one_island_in_fp16() -> None:
    model = between_convolutions(lambda b, x: normalised(b, x, 1e-3))
    assert set(reasons(model)) == {"square", "mean", "add", "root", "divide"}
    assert reasons(model, "bf16") == {}


def test_an_epsilon_that_vanishes_makes_an_island_of_its_neighbourhood() -> None:
    def middle(b: Builder, x: str) -> str:
        size = b.op("Abs", [b.op("Tanh", [x], "tanh")], "size")
        return b.op("Div", [x, b.op("Add", [size, scalar(b, "epsilon", 1e-8)], "add")], "divide")

    model = between_convolutions(middle)
    reason = "constant 'epsilon' is below the range of fp16"
    assert reasons(model) == dict.fromkeys(("size", "add", "divide"), reason)
    assert reasons(model, "bf16") == {}


def test_a_mask_beyond_the_range_takes_its_softmax_along() -> None:
    def middle(b: Builder, x: str) -> str:
        mask = b.constant("mask", np.full((1, 1, 1, 32), -1e9, np.float32))
        return b.op("Softmax", [b.op("Add", [x, mask], "add")], "softmax")

    model = between_convolutions(middle)
    reason = "constant 'mask' is beyond the range of fp16"
    assert reasons(model) == {"add": reason, "softmax": reason}
    assert reasons(model, "bf16") == {}


@pytest.mark.parametrize("value", [1e-6, 1e-12, 0.0])
def test_a_bias_of_next_to_nothing_is_no_reason(value: float) -> None:
    def middle(b: Builder, x: str) -> str:
        bias = b.constant("bias", np.full((WIDTH, 1, 1), value, np.float32))
        weight = b.weight("weight", (WIDTH, WIDTH, 1, 1), WIDTH)
        small = b.constant("conv.bias", np.full(WIDTH, value, np.float32))
        return b.op("Conv", [b.op("Add", [x, bias], "add"), weight, small], "conv")

    assert reasons(between_convolutions(middle)) == {}


def test_weights_below_the_range_keep_their_product_in_fp32() -> None:
    def middle(b: Builder, x: str) -> str:
        weight = b.constant("weight", np.full((WIDTH, WIDTH, 1, 1), 1e-6, np.float32))
        return b.op("Conv", [x, weight], "tiny")

    reason = "constant 'weight' is below the range of fp16"
    assert reasons(between_convolutions(middle)) == {"tiny": reason}


@pytest.mark.parametrize(("dtype", "value"), [("fp16", 70000.0), ("bf16", 3.4e38)])
def test_weights_beyond_the_range_are_refused_by_name(dtype: Half, value: float) -> None:
    def middle(b: Builder, x: str) -> str:
        weight = b.constant("heavy.weight", np.full((WIDTH, WIDTH, 1, 1), value, np.float32))
        return b.op("Conv", [x, weight], "heavy")

    text = f"'heavy.weight' of node 'heavy': got 1024 values beyond the range of {dtype}"
    with pytest.raises(ModelError, match=text):
        reasons(between_convolutions(middle), dtype)


def test_sums_are_islands_in_both_types() -> None:
    def middle(b: Builder, x: str) -> str:
        total = b.op(
            "ReduceSum", [x, b.constant("axes", np.array([1], np.int64))], "sum", keepdims=1
        )
        return b.op("Sigmoid", [b.op("Mul", [x, total], "scaled")], "sigmoid")

    model = between_convolutions(middle)
    for dtype in ("fp16", "bf16"):
        assert reasons(model, dtype) == dict.fromkeys(("sum", "scaled"), "sum of many values")


@pytest.mark.parametrize("length", [MAX_SOFTMAX_VALUES, 2 * MAX_SOFTMAX_VALUES])
def test_a_softmax_is_an_island_only_where_its_values_become_too_small(length: int) -> None:
    def middle(b: Builder, x: str) -> str:
        flat = b.reshape(x, "flat", (1, WIDTH * 1024 // length, length))
        return b.reshape(b.op("Softmax", [flat], "softmax"), "map", (1, WIDTH, 32, 32))

    long = {"softmax": f"softmax over {length} values"}
    model = between_convolutions(middle)
    assert reasons(model) == (long if length > MAX_SOFTMAX_VALUES else {})
    assert reasons(model, "bf16") == {}


def test_image_normalisation_is_an_island() -> None:
    b = Builder()
    x = b.op("Sub", ["image", b.constant("mean", np.full((3, 1, 1), 0.4, np.float32))], "centre")
    x = b.op("Div", [x, b.constant("std", np.full((3, 1, 1), 0.2, np.float32))], "scale")
    x = b.op("Relu", [b.conv(x, "first", 3, WIDTH)], "relu")
    model = b.model({"y": b.conv(x, "last", WIDTH, WIDTH, 1)})
    assert reasons(model) == dict.fromkeys(("centre", "scale"), "image normalisation")


def test_the_operators_own_definitions_decide() -> None:
    model = between_convolutions(lambda b, x: b.op("Celu", [x], "celu"))
    assert reasons(model) == {"celu": "Celu does not take fp16 at opset 20"}
    cast = between_convolutions(
        lambda b, x: b.op("Cast", [b.op("Cast", [x], "to_int", to=6)], "to_float", to=1)
    )
    assert reasons(cast) == {
        "to_int": "Cast judges values",
        "to_float": "Cast is told its type by an attribute",
    }


def test_foreign_operators_stay_fp32() -> None:
    model = between_convolutions(lambda b, x: b.op("Relu", [x], "foreign"))
    model.opset_import.append(helper.make_opsetid("example.org", 1))
    node = next(n for n in model.graph.node if n.name == "foreign")
    node.domain, node.op_type = "example.org", "Sharpen"
    assert reasons(model) == {"foreign": "Sharpen is not an operator of ONNX"}


def test_what_tensorrt_lacks_in_bf16_stays_fp32() -> None:
    found = reasons(landmark_net(), "bf16")
    assert found["decoder.blocks.0.up"] == "TensorRT has no ConvTranspose in bf16"
    assert len(found) == 1 + len(reasons(landmark_net()))


def test_a_region_between_islands_joins_them_where_it_holds_no_product() -> None:
    def middle(b: Builder, x: str) -> str:
        hot = b.op("Exp", [x], "first_exp")
        calm = b.op("Tanh", [b.op("Relu", [hot], "relu")], "tanh")
        return b.op("Exp", [calm], "second_exp")

    found = reasons(between_convolutions(middle))
    assert found["relu"] == found["tanh"] == "no product between FP32 islands"
    assert "first" not in found
    assert "last" not in found
