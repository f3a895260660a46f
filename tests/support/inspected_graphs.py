"""Small graphs in every precision, to be looked at."""

from __future__ import annotations

import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE = 16
CHANNELS = 32


def convolution(
    name: str, source: str, dtype: type[np.floating] = np.float32
) -> tuple[onnx.NodeProto, list[onnx.TensorProto]]:
    """A 3x3 convolution of CHANNELS to CHANNELS, and its weights and bias."""
    weight = np.ones((CHANNELS, CHANNELS, 3, 3), dtype)
    constants = [
        numpy_helper.from_array(weight, f"{name}.weight"),
        numpy_helper.from_array(np.zeros(CHANNELS, dtype), f"{name}.bias"),
    ]
    inputs = [source, f"{name}.weight", f"{name}.bias"]
    node = helper.make_node("Conv", inputs, [f"{name}.out"], name=name, pads=[1, 1, 1, 1])
    return node, constants


def quantized(tensor: str) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """A symmetric Q/DQ pair over a tensor; gives ``<tensor>_dq``."""
    constants = [
        numpy_helper.from_array(np.array(0.1, np.float32), f"{tensor}_scale"),
        numpy_helper.from_array(np.array(0, np.int8), f"{tensor}_zero"),
    ]
    tail = [f"{tensor}_scale", f"{tensor}_zero"]
    nodes = [
        helper.make_node("QuantizeLinear", [tensor, *tail], [f"{tensor}_q"], name=f"{tensor}_q"),
        helper.make_node(
            "DequantizeLinear", [f"{tensor}_q", *tail], [f"{tensor}_dq"], name=f"{tensor}_dq"
        ),
    ]
    return nodes, constants


def model_of(
    nodes: list[onnx.NodeProto],
    constants: list[onnx.TensorProto],
    output: str,
    *,
    batch: int | str = 1,
    records: dict[str, object] | None = None,
) -> onnx.ModelProto:
    """A model of one FP32 image and one FP32 output."""
    shape = [batch, CHANNELS, SIZE, SIZE]
    graph = helper.make_graph(
        nodes,
        "inspected",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(model, {k: json.dumps(v) for k, v in (records or {}).items()})
    return model


def float_net(batch: int | str = 1, **records: object) -> onnx.ModelProto:
    """conv1, Relu, conv2."""
    first, constants = convolution("conv1", "image")
    relu = helper.make_node("Relu", ["conv1.out"], ["relu.out"], name="relu[0]")
    second, more = convolution("conv2", "relu.out")
    model = model_of([first, relu, second], constants + more, "conv2.out", batch=batch)
    helper.set_model_props(model, {f"mahtrt.{k}": json.dumps(v) for k, v in records.items()})
    return model


def half_net() -> onnx.ModelProto:
    """The same with conv1 in FP16 between casts."""
    into = helper.make_node("Cast", ["image"], ["half"], name="into", to=TensorProto.FLOAT16)
    first, constants = convolution("conv1", "half", np.float16)
    out = helper.make_node("Cast", ["conv1.out"], ["full"], name="out", to=TensorProto.FLOAT)
    second, more = convolution("conv2", "full")
    return model_of([into, first, out, second], constants + more, "conv2.out")


def int8_net(*, activations: bool = True, transposed: bool = False) -> onnx.ModelProto:
    """conv1 with INT8 weights, and with a quantised input where ``activations``; conv2 in FP32."""
    nodes, constants = quantized("image") if activations else ([], [])
    codes = np.ones((CHANNELS, CHANNELS, 3, 3), np.int8)
    constants += [
        numpy_helper.from_array(codes, "conv1.codes"),
        numpy_helper.from_array(np.ones(CHANNELS, np.float32), "conv1.scale"),
        numpy_helper.from_array(np.zeros(CHANNELS, np.int8), "conv1.zero"),
    ]
    inputs = ["conv1.codes", "conv1.scale", "conv1.zero"]
    weight = "conv1.weight_dq"
    nodes.append(helper.make_node("DequantizeLinear", inputs, [weight], name="weight", axis=0))
    if transposed:
        perm = [1, 0, 2, 3]
        nodes.append(helper.make_node("Transpose", [weight], ["turned"], name="turn", perm=perm))
        weight = "turned"
    node, more = convolution("conv1", "image_dq" if activations else "image")
    node.input[1] = weight
    second, last = convolution("conv2", "conv1.out")
    return model_of([*nodes, node, second], [*constants, more[1], *last], "conv2.out")
