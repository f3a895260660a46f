"""Quantises what a Concat joins instead of what it gives.

An INT8 product reads a Concat through one pair of Q/DQ. As it stands, OpenVINO joins the tensors in
floating point and quantises all of it in a pass of its own. With equal pairs before the Concat the
numbers are the same, each quantisation is part of what makes its tensor, and a quarter or half of
the bytes is joined. OpenVINO would do so itself, but loses the scale
(:mod:`mahtrt.targets.openvino.guard`); quantisers that give real numbers, not codes, are computed
rightly (tests/targets/openvino/test_openvino_concats.py).

Only where nothing but products reads the quantised tensor: what else could move in front of a
Concat stays behind the guard.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.errors import require

_PRODUCTS = frozenset({"Convolution", "ConvolutionBackpropData", "GroupConvolution", "MatMul"})


@dataclass(frozen=True, slots=True)
class _Pair:
    """A Q/DQ pair as OpenVINO reads it from ONNX.

    Attributes:
        quantizer: The FakeQuantize, from real numbers to codes.
        last: The operation that gives real numbers again.
        low, high: What the lowest and the highest code stand for.
    """

    quantizer: Any
    last: Any
    low: NDArray[np.float32]
    high: NDArray[np.float32]


def quantize_before_concats(model: Any) -> int:
    """Let pairs of Q/DQ behind a Concat be before it, in place.

    Args:
        model: An ``openvino.Model`` as read from ONNX.

    Returns:
        How many pairs were moved.
    """
    concats = [op for op in model.get_ordered_ops() if op.get_type_name() == "Concat"]
    pairs = [(concat, pair) for concat in concats for pair in _pairs(concat)]
    for concat, pair in pairs:
        _move(concat, pair)
    if pairs:
        model.validate_nodes_and_infer_types()
    return len(pairs)


def _pairs(concat: Any) -> Iterator[_Pair]:
    """The pairs that quantise a Concat for products alone."""
    for port in concat.output(0).get_target_inputs():
        pair = _pair(port.get_node()) if port.get_index() == 0 else None
        if pair is not None and all(op.get_type_name() in _PRODUCTS for op in _readers(pair.last)):
            yield pair


def _pair(quantizer: Any) -> _Pair | None:
    """The pair that a FakeQuantize begins: convert to codes, back, less a zero of 0, scaled."""
    if quantizer.get_type_name() != "FakeQuantize":
        return None
    op = quantizer
    for kind in ("Convert", "Convert", "Subtract", "Multiply"):
        readers = _readers(op)
        if kind == "Subtract" and readers and readers[0].get_type_name() == "Multiply":
            continue  # no zero point at all
        if len(readers) != 1 or readers[0].get_type_name() != kind:
            return None
        op = readers[0]
        if kind == "Subtract" and not _is_zero(op.input_value(1).get_node()):
            return None
    scale = _constant(op.input_value(1).get_node())
    low, high = (_constant(quantizer.input_value(slot).get_node()) for slot in (3, 4))
    if scale is None or low is None or high is None or scale.size != 1:
        return None
    return _Pair(quantizer, op, low * scale.reshape(()), high * scale.reshape(()))


def _move(concat: Any, pair: _Pair) -> None:
    ops: Any = require("openvino.opset13", extra="", needed_for="target openvino")
    quantizer = pair.quantizer
    low, high = (quantizer.input_value(slot) for slot in (1, 2))
    real = [ops.constant(np.asarray(value, np.float32)) for value in (pair.low, pair.high)]
    parts = [
        ops.fake_quantize(concat.input_value(slot), low, high, *real, quantizer.get_levels())
        for slot in range(concat.get_input_size())
    ]
    name = pair.last.get_friendly_name()
    joined = ops.concat(parts, concat.get_axis(), name=name)
    for port in list(pair.last.output(0).get_target_inputs()):
        port.replace_source_output(joined.output(0))


def _readers(op: Any) -> list[Any]:
    return [port.get_node() for port in op.output(0).get_target_inputs()]


def _constant(op: Any) -> NDArray[np.float32] | None:
    if op.get_type_name() != "Constant":
        return None
    return np.asarray(op.get_data(), np.float32)


def _is_zero(op: Any) -> bool:
    """Whether an operation is a constant 0, converted or not."""
    if op.get_type_name() == "Convert":
        op = op.input_value(0).get_node()
    constant = _constant(op)
    return constant is not None and not constant.any()
