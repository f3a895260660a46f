"""What is told of a graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from inspected_graphs import CHANNELS, SIZE, float_net, half_net, int8_net
from onnx import TensorProto, helper, numpy_helper

from mahtrt.graph.describe import GraphSummary, WeightGroup, describe_graph

PIXELS = SIZE * SIZE
CONV_FLOPS = 2 * PIXELS * CHANNELS * CHANNELS * 9
CONV_WEIGHTS = CHANNELS * CHANNELS * 9
MAP = CHANNELS * PIXELS


def layer(summary: GraphSummary, name: str) -> dict[str, Any]:
    found = next(each for each in summary.layers if each.name == name)
    return {field: getattr(found, field) for field in ("precision", "flops", "bytes")}


def test_a_float_graph() -> None:
    summary = describe_graph(float_net(spec={"family": "x"}, precision={"dtype": "fp16"}))
    assert (summary.opset, summary.batch, summary.nodes) == (20, 1, 3)
    assert summary.ops == {"Conv": {"fp32": 2}, "Relu": {"fp32": 1}}
    assert summary.products == {"fp32": 2}
    assert summary.int8_layers == 0
    assert summary.flops == 2 * CONV_FLOPS
    values = 2 * (CONV_WEIGHTS + CHANNELS)
    assert summary.weights == (WeightGroup("fp32", 4, values, 4 * values),)
    assert [(t.name, t.dtype, t.shape) for t in summary.inputs] == [
        ("image", "fp32", (1, CHANNELS, SIZE, SIZE))
    ]
    assert summary.records == {"spec": {"family": "x"}, "precision": {"dtype": "fp16"}}
    assert summary.notes == ()


def test_bytes_are_weights_and_activations_once() -> None:
    summary = describe_graph(float_net())
    weights = 4 * (CONV_WEIGHTS + CHANNELS)
    assert layer(summary, "conv1")["bytes"] == weights + 2 * 4 * MAP
    assert layer(summary, "relu[0]") == {"precision": "fp32", "flops": 0, "bytes": 2 * 4 * MAP}


def test_a_half_graph() -> None:
    summary = describe_graph(half_net())
    assert summary.products == {"fp16": 1, "fp32": 1}
    assert summary.nodes_by_precision == {"fp16": 2, "fp32": 2}
    assert {group.dtype for group in summary.weights} == {"fp16", "fp32"}
    assert layer(summary, "conv1")["bytes"] == 2 * (CONV_WEIGHTS + CHANNELS) + 2 * 2 * MAP


@pytest.mark.parametrize("transposed", [False, True])
def test_an_int8_graph(transposed: bool) -> None:
    summary = describe_graph(int8_net(transposed=transposed))
    assert summary.products == {"fp32": 1, "int8": 1}
    assert summary.int8_names == ("conv1",)
    # INT8 weights and zero points, FP32 scales and bias; INT8 in, FP32 out.
    stored = CONV_WEIGHTS + CHANNELS + 2 * 4 * CHANNELS
    assert layer(summary, "conv1")["bytes"] >= stored + MAP + 4 * MAP
    assert layer(summary, "conv1")["flops"] == CONV_FLOPS


def test_int8_weights_alone_are_no_int8_layer() -> None:
    summary = describe_graph(int8_net(activations=False))
    assert summary.int8_layers == 0
    assert summary.products == {"fp32": 2}
    assert summary.notes == ("1 products have INT8 weights but compute in floating point.",)


def test_unsigned_activations_are_no_int8_layer() -> None:
    model = int8_net()
    zero = next(t for t in model.graph.initializer if t.name == "image_zero")
    zero.CopyFrom(numpy_helper.from_array(np.array(128, np.uint8), "image_zero"))
    assert describe_graph(model).int8_layers == 0


def test_the_largest_layers_come_first() -> None:
    summary = describe_graph(half_net())
    assert [each.name for each in summary.largest("bytes", 2)] == ["conv2", "conv1"]
    assert [each.op for each in summary.largest("flops", 10)] == ["Conv", "Conv"]
    assert len(summary.to_dict(top=1)["largest_by_bytes"]) == 1


def test_a_dynamic_batch_is_said() -> None:
    summary = describe_graph(float_net(batch="N"))
    assert summary.batch is None
    assert summary.inputs[0].shape[0] == "N"
    assert summary.flops == 0
    assert "2 of 2 products" in summary.notes[0]


def test_a_node_nobody_knows_has_no_precision() -> None:
    node = helper.make_node("Magic", ["image"], ["out"], name="magic", domain="acme")
    shape = [1, 1]
    graph = helper.make_graph(
        [node, helper.make_node("Relu", ["out"], ["after"], name="relu")],
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("after", TensorProto.FLOAT, shape)],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("acme", 1)]
    summary = describe_graph(helper.make_model(graph, opset_imports=opsets, ir_version=10))
    assert summary.ops["acme:Magic"] == {"unknown": 1}
    assert summary.ops["Relu"] == {"fp32": 1}
    assert "unknown type" in summary.notes[0]


def test_a_record_that_is_not_json_stays_text() -> None:
    model = float_net()
    helper.set_model_props(model, {"mahtrt.spec": "{broken", "other": "1"})
    assert describe_graph(model).records == {"spec": "{broken"}


def test_four_bit_weights_are_packed() -> None:
    model = float_net()
    codes = helper.make_tensor("codes", TensorProto.INT4, [3, 3], np.zeros(9, np.int8))
    model.graph.initializer.append(codes)
    model.graph.node.append(helper.make_node("Identity", ["codes"], ["same"], name="same"))
    groups = {group.dtype: group for group in describe_graph(model).weights}
    assert (groups["int4"].elements, groups["int4"].bytes) == (9, 5)


def test_the_graph_is_not_changed() -> None:
    model = int8_net()
    before = model.SerializeToString(deterministic=True)
    describe_graph(model)
    assert onnx.ModelProto.FromString(before) == model
