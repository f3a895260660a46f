"""In which precision the nodes of a graph compute, as its types and Q/DQ nodes say."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import onnx
from onnx import TensorProto

from mahtrt.graph.flops import PRODUCTS
from mahtrt.graph.index import PASS_THROUGH, GraphIndex

UNKNOWN = "unknown"

_NAMES: Mapping[int, str] = {
    TensorProto.FLOAT: "fp32",
    TensorProto.FLOAT16: "fp16",
    TensorProto.BFLOAT16: "bf16",
    TensorProto.DOUBLE: "fp64",
    TensorProto.UNDEFINED: UNKNOWN,
}
_FOUR_BITS = ("INT4", "UINT4", "FLOAT4E2M1")
# Nodes that only rearrange a tensor; what they read was quantised where it came from.
# Products that take integers themselves, as other tools' quantised graphs have them.
_INTEGER_PRODUCTS = {"QLinearConv": 3, "QLinearMatMul": 3, "ConvInteger": 1, "MatMulInteger": 1}


def precision_name(element_type: int) -> str:
    """``fp32``, ``fp16``, ``bf16``, ``int8``, ``fp8``, … for an ONNX element type."""
    if element_type in _NAMES:
        return _NAMES[element_type]
    name = TensorProto.DataType.Name(element_type).lower()
    return "fp8" if name.startswith("float8") else name


def bytes_of(element_type: int, shape: tuple[int, ...] | None) -> int:
    """Size of a tensor in bytes; 0 where it cannot be told (unknown shape, text)."""
    if shape is None or element_type in (TensorProto.UNDEFINED, TensorProto.STRING):
        return 0
    if TensorProto.DataType.Name(element_type) in _FOUR_BITS:
        return (prod(shape) + 1) // 2
    return int(prod(shape) * onnx.helper.tensor_dtype_to_np_dtype(element_type).itemsize)


def type_of(graph: GraphIndex, tensor: str) -> int:
    """The ONNX element type of a tensor, UNDEFINED where it is unknown."""
    return graph.element_type(tensor) if graph.has_type(tensor) else TensorProto.UNDEFINED


def is_product(node: onnx.NodeProto) -> bool:
    """Whether a node is a convolution or matrix product, of floats or of integers."""
    return node.op_type in PRODUCTS or node.op_type in _INTEGER_PRODUCTS


def precision_of(graph: GraphIndex, position: int) -> str:
    """In which precision a node computes.

    A product whose two operands come from DequantizeLinear computes in what they were quantised
    to; every other node computes in the type of what it gives, quantisers included.
    """
    node = graph.nodes[position]
    if node.op_type in _INTEGER_PRODUCTS:
        return precision_name(type_of(graph, node.input[_INTEGER_PRODUCTS[node.op_type]]))
    if node.op_type in PRODUCTS:
        codes = {quantized_type(graph, name) for name in node.input[:2]}
        if len(codes) == 1 and TensorProto.UNDEFINED not in codes:
            return precision_name(codes.pop())
    written = next((name for name in node.output if name), "")
    return precision_name(type_of(graph, written))


def quantized_type(graph: GraphIndex, tensor: str) -> int:
    """What a tensor was before a DequantizeLinear; UNDEFINED where it comes from none."""
    maker = source_of(graph, tensor)
    if maker is None or maker.op_type != "DequantizeLinear":
        return TensorProto.UNDEFINED
    return type_of(graph, maker.input[0])


def is_int8_product(graph: GraphIndex, position: int) -> bool:
    """Whether a node is a product of an activation with constant weights that computes in INT8."""
    node = graph.nodes[position]
    if node.op_type not in PRODUCTS:
        return False
    if any(quantized_type(graph, name) != TensorProto.INT8 for name in node.input[:2]):
        return False
    return bool(stored_weights(graph, node.input[1])) and not stored_weights(graph, node.input[0])


def is_stored_int8(graph: GraphIndex, position: int) -> bool:
    """Whether a product's weights are kept as INT8, whatever it computes in."""
    names = stored_weights(graph, graph.nodes[position].input[1])
    return bool(names) and graph.element_type(names[0]) == TensorProto.INT8


def source_of(graph: GraphIndex, tensor: str) -> onnx.NodeProto | None:
    """The node that makes a tensor's values, past those that only rearrange them."""
    maker = graph.maker(tensor)
    while maker is not None and maker.op_type in PASS_THROUGH:
        maker = graph.maker(maker.input[0])
    return maker


def stored_weights(graph: GraphIndex, tensor: str) -> list[str]:
    """The initializers behind a tensor that is constant, scales included; [] for activations."""
    return [tensor] if tensor in graph.initializers else graph.weights_behind.get(tensor, [])
