"""Products with a constant on their left in BF16, where OpenVINO computes in BF16.

With an inference precision of BF16, OpenVINO's CPU plugin lowers the inputs of a product, but never
one that is a constant: it counts on the weights on the right being converted with their layout. A
MatMul whose *first* operand is constant (an interpolation as a matrix, see
``mahtrt/export/passes/split_pyramid_conv.py``) therefore stays FP32, with a reorder on both sides.
Here such products are BF16 by their types, together with what only moves numbers beside them, so
that the conversions are at the ends of the chain.

Only constants that BF16 holds exactly, and only before a convolution: behind the last one OpenVINO
leaves everything in FP32, decoding above all.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import numpy as np

from mahtrt.errors import require

_MOVES = frozenset({"Reshape", "Transpose", "Gather", "Squeeze", "Unsqueeze"})
_CONVOLUTIONS = frozenset({"Convolution", "GroupConvolution", "ConvolutionBackpropData"})
_LOST_BITS = np.uint32(0x0000FFFF)  # of a float32, those that BF16 has not


def lower_constant_products(model: Any, keep: Set[str]) -> int:
    """Let products of a constant with an activation compute in BF16, in place.

    Args:
        model: An ``openvino.Model`` that is to be compiled for an inference precision of BF16.
        keep: Names of nodes that stay in FP32.

    Returns:
        How many are lowered.
    """
    ops: Any = require("openvino.opset13", extra="", needed_for="target openvino")
    chosen = [
        op
        for op in model.get_ordered_ops()
        if op.get_friendly_name() not in keep
        and _is_constant_product(op)
        and _reaches_convolution(op)
    ]
    for product in chosen:
        _lower(product, ops)
        model.validate_nodes_and_infer_types()  # the next one asks for the types
    return len(chosen)


def _is_constant_product(op: Any) -> bool:
    """Whether an operation multiplies a constant that BF16 holds exactly with an activation."""
    if op.get_type_name() != "MatMul" or _type(op.output(0)) != "f32":
        return False
    left, right = (op.input_value(slot).get_node() for slot in (0, 1))
    if left.get_type_name() != "Constant" or right.get_type_name() == "Constant":
        return False
    return not np.any(np.ascontiguousarray(left.get_data()).view(np.uint32) & _LOST_BITS)


def _reaches_convolution(op: Any) -> bool:
    """Whether a convolution reads an operation, directly or through others."""
    stack, seen = [op], set()
    while stack:
        for port in stack.pop().output(0).get_target_inputs():
            reader = port.get_node()
            if reader.get_type_name() in _CONVOLUTIONS:
                return True
            if reader.get_friendly_name() not in seen and reader.outputs():
                seen.add(reader.get_friendly_name())
                stack.append(reader)
    return False


def _lower(product: Any, ops: Any) -> None:
    """Make one product BF16, with conversions around it and what only moves numbers beside it."""
    constant = ops.constant(product.input_value(0).get_node().get_data(), dtype=_bf16())
    product.input(0).replace_source_output(constant.output(0))
    port = product.input(1)
    while _is_move(port.get_source_output().get_node()):
        port = port.get_source_output().get_node().input(0)
    source = port.get_source_output()
    before = source.get_node()
    if before.get_type_name() == "Convert" and _type(before.input_value(0)) == "bf16":
        lowered = before.input_value(0)  # of the product before this one
    else:
        lowered = ops.convert(source, "bf16").output(0)
    port.replace_source_output(lowered)
    last = product
    while len(readers := last.output(0).get_target_inputs()) == 1 and _is_move(
        follower := next(iter(readers)).get_node()
    ):
        last = follower
    raised = ops.convert(last, "f32").output(0)
    for reader in readers:
        reader.replace_source_output(raised)


def _is_move(op: Any) -> bool:
    """Whether an operation moves the numbers of its first input, which no other one reads."""
    return op.get_type_name() in _MOVES and len(op.output(0).get_target_inputs()) == 1


def _type(port: Any) -> str:
    return str(port.get_element_type().to_string())


def _bf16() -> Any:
    openvino: Any = require("openvino", extra="", needed_for="target openvino")
    return openvino.Type.bf16
