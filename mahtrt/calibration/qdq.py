"""Ranges and a plan into a Q/DQ graph: the one INT8 file that every target compiles.

What is placed, and why it is accepted by TensorRT, ONNX Runtime and OpenVINO alike:

- Each planned product reads its activation through QuantizeLinear and DequantizeLinear, per
  tensor, symmetric INT8 with zero point 0. A tensor has *one* pair, which all its INT8 consumers
  share, so it is quantised once; consumers in floating point read the original tensor.
- Its weights are stored as INT8 with a DequantizeLinear per output channel (Conv axis 0,
  ConvTranspose axis 1, MatMul axis 1, Gemm by ``transB``), one per consumer. Biases stay float:
  TensorRT adds them after the product and refuses Int32 ones.
- A tensor whose values lie on one side is quantised less the middle of its range, where the biases
  of its readers can take that up (:mod:`mahtrt.calibration.centring`).
- A Concat that feeds a product is quantised at its output. That gives all its inputs one scale,
  which lets a compiler move the quantisation before the Concat.
- Where an INT8 convolution feeds an Add directly, the Add's other operand gets its pair too, so
  that convolution and Add become one INT8 kernel (``Plan.quantize_residuals``). If both operands
  are such convolutions, the later one stays fusible.

The same model, ranges and plan give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from mahtrt.bundle.plan import Plan
from mahtrt.calibration.biases import add_to_bias
from mahtrt.calibration.centring import Interval, centrable, interval_of
from mahtrt.calibration.methods import DEFAULT_METHOD, LEARNED, METHODS, Method
from mahtrt.calibration.plan import check_plan
from mahtrt.calibration.ranges import Ranges
from mahtrt.calibration.weights import quantize_weight, scale_from_amax, scale_of_type
from mahtrt.errors import ModelError, SpecError, UsageError
from mahtrt.graph.index import GraphIndex, opset_of
from mahtrt.graph.rewrite import GraphRewriter
from mahtrt.graph.sites import weight_axis
from mahtrt.precision.types import fp32_name

METADATA_KEY = "mahtrt.quantization"
_MIN_OPSET = 19  # the first with scales in FP16 and BF16
_HALF_SCALES: Mapping[int, type[np.floating]] = {
    TensorProto.FLOAT16: np.float16,
    TensorProto.BFLOAT16: ml_dtypes.bfloat16,
}


def tensors_to_calibrate(model: onnx.ModelProto, plan: Plan) -> list[str]:
    """The activations whose ranges :func:`quantize` needs, in the order of the graph.

    Raises:
        SpecError: The plan does not fit the model.
        ModelError: The model is quantised already.
    """
    graph = GraphIndex(model)
    check_plan(plan, graph)
    return list(dict.fromkeys(tensor for _, _, tensor in quantized_inputs(graph, plan)))


def quantize(
    model: onnx.ModelProto,
    ranges: Ranges,
    plan: Plan,
    *,
    method: Method | Mapping[str, Method] = DEFAULT_METHOD,
    weight_bits: int = 8,
    centred: bool = True,
) -> onnx.ModelProto:
    """A copy of a model in which the plan's blocks are INT8 by Q/DQ nodes.

    Args:
        model: The floating-point model.
        ranges: What was seen of the tensors of :func:`tensors_to_calibrate`, at least.
        plan: Which blocks.
        method: Which of the ranges' methods gives the scales: one for all tensors, or tensor ->
            method, ``minmax`` for those that it does not name.
        weight_bits: 8, or 7 for CPUs without VNNI (:mod:`mahtrt.calibration.weights`).
        centred: Whether tensors on one side are centred (:mod:`mahtrt.calibration.centring`).

    Raises:
        UsageError: An unknown method, or other weight bits.
        SpecError: The plan does not fit the model, or the ranges lack one of its tensors.
        ModelError: A model that is quantised already, or of too old an opset.
    """
    _check_options(model, method, weight_bits)
    graph = GraphIndex(model)
    check_plan(plan, graph)
    inputs = quantized_inputs(graph, plan)
    intervals = intervals_of(graph, inputs, ranges, method, centred=centred)
    writer = _QdqWriter(graph, intervals, weight_bits)
    for position, slot, tensor in inputs:
        writer.quantize_activation(position, slot, tensor)
    for position in int8_positions(graph, plan):
        writer.quantize_weights(position)
    result = writer.rewriter.finish()
    entry = result.metadata_props.add()
    entry.key = METADATA_KEY
    entry.value = _record(ranges, plan, method, writer.intervals, weight_bits)
    return result


def intervals_of(
    graph: GraphIndex,
    inputs: Sequence[tuple[int, int, str]],
    ranges: Ranges,
    method: Method | Mapping[str, Method],
    *,
    centred: bool = True,
) -> dict[str, Interval]:
    """What INT8 represents of each tensor that is read through Q/DQ.

    Args:
        inputs: What :func:`quantized_inputs` gives.

    Raises:
        SpecError: The ranges lack one of the tensors.
    """
    can_be = centrable(graph, inputs) if centred else set()
    found = {}
    for tensor in dict.fromkeys(tensor for _, _, tensor in inputs):
        seen = ranges.tensors.get(tensor, ranges.tensors.get(fp32_name(graph, tensor)))
        if seen is None:
            raise SpecError(
                "calibration ranges",
                got=f"no range of tensor {tensor!r}",
                expected="the tensors that the plan quantises",
                fix="Calibrate again with this model and plan.",
            )
        found[tensor] = interval_of(seen, method_of(method, tensor), tensor in can_be)
    return found


def method_of(method: Method | Mapping[str, Method], tensor: str) -> Method:
    """The method of one tensor, from what :func:`quantize` takes as ``method``."""
    return method.get(tensor, DEFAULT_METHOD) if isinstance(method, Mapping) else method


def _check_options(
    model: onnx.ModelProto, method: Method | Mapping[str, Method], weight_bits: int
) -> None:
    for name in method.values() if isinstance(method, Mapping) else [method]:
        if name not in (*METHODS, LEARNED):
            raise UsageError("calibration method", got=repr(name), expected=" or ".join(METHODS))
    if weight_bits not in (7, 8):
        raise UsageError("weight bits", got=str(weight_bits), expected="7 or 8")
    if opset_of(model) < _MIN_OPSET:
        raise ModelError(
            "ONNX graph",
            got=f"opset {opset_of(model)}",
            expected=f"at least {_MIN_OPSET} for INT8 beside FP32, FP16 and BF16",
            fix="Export the model again with a newer opset.",
        )


def _record(
    ranges: Ranges,
    plan: Plan,
    method: Method | Mapping[str, Method],
    intervals: Mapping[str, Interval],
    weight_bits: int,
) -> str:
    """How the graph was quantised, for whoever finds the file.

    ``method`` is a name, or a table of the tensors that have another one than ``minmax``.
    """
    record = {
        "method": {t: m for t in intervals if (m := method_of(method, t)) != DEFAULT_METHOD}
        if isinstance(method, Mapping)
        else method,
        "percentile": ranges.percentile,
        "weight_bits": weight_bits,
        "centred": sum(1 for interval in intervals.values() if interval.centre),
        "images": ranges.images,
        "calibration_digest": ranges.digest,
        "preprocess_version": ranges.preprocess_version,
        "plan_sha256": hashlib.sha256(plan.to_json().encode()).hexdigest(),
    }
    return json.dumps(record, sort_keys=True)


def int8_positions(graph: GraphIndex, plan: Plan) -> list[int]:
    """Places of the products that a plan wants in INT8."""
    return sorted(graph.position_of[name] for name in plan.int8_nodes)


def quantized_inputs(graph: GraphIndex, plan: Plan) -> list[tuple[int, int, str]]:
    """Node position, input slot and tensor of each activation that is read through a Q/DQ pair."""
    products = int8_positions(graph, plan)
    found = [(position, 0, graph.nodes[position].input[0]) for position in products]
    if plan.quantize_residuals:
        found += _residuals(graph, products)
    return sorted(found)


def _residuals(graph: GraphIndex, products: Sequence[int]) -> list[tuple[int, int, str]]:
    """The operand beside an INT8 convolution of each Add that directly follows one."""
    convolutions = {p for p in products if graph.nodes[p].op_type in ("Conv", "ConvTranspose")}
    found = []
    for position, node in enumerate(graph.nodes):
        if node.op_type != "Add" or any(graph.is_constant(name) for name in node.input):
            continue
        makers = [graph.producer.get(name, -1) for name in node.input]
        fusible = [m for m in makers if m in convolutions and _feeds_only(graph, m, position)]
        if not fusible or makers[0] == makers[1]:
            continue
        slot = 1 - makers.index(max(fusible))
        if graph.shape(node.input[slot]) == graph.shape(node.input[1 - slot]):
            found.append((position, slot, node.input[slot]))
    return found


def _feeds_only(graph: GraphIndex, maker: int, reader: int) -> bool:
    name = graph.nodes[maker].output[0]
    return graph.consumers.get(name) == [reader] and name not in graph.outputs


@dataclass(frozen=True, slots=True, eq=False)
class _StoredWeight:
    """INT8 weights in the graph.

    Attributes:
        inputs: Names of their codes, scales and zero points.
        sums: (output channels,) the sum of the weights of each.
    """

    inputs: Sequence[str]
    sums: NDArray[np.float64]


class _QdqWriter:
    """Writes Q/DQ pairs and INT8 weights, each once."""

    def __init__(self, graph: GraphIndex, intervals: Mapping[str, Interval], bits: int) -> None:
        self.graph, self.intervals, self.bits = graph, intervals, bits
        self.rewriter = GraphRewriter(graph)
        self.zero_point = self.rewriter.store("mahtrt_zero_point", np.zeros((), np.int8))
        self.pairs: dict[str, str] = {}
        self.centres: dict[str, float] = {}
        self.weights: dict[tuple[str, int], _StoredWeight] = {}

    def quantize_activation(self, position: int, slot: int, tensor: str) -> None:
        """Let one input of a node read a tensor through its Q/DQ pair, made where it is new."""
        if tensor not in self.pairs:
            self.pairs[tensor] = self._new_pair(position, tensor)
        self.rewriter.replace_input(position, slot, self.pairs[tensor])

    def quantize_weights(self, position: int) -> None:
        """Let a product read its weights as INT8, through a DequantizeLinear of its own."""
        node, axis = self.graph.nodes[position], weight_axis(self.graph, position)
        name, write = node.input[1], self.rewriter
        if (name, axis) not in self.weights:
            self.weights[name, axis] = self._stored(name, axis)
        stored = self.weights[name, axis]
        output = write.insert(position, "DequantizeLinear", stored.inputs, f"{name}_dq", axis=axis)
        write.replace_input(position, 1, output)
        centre = self.centres.get(node.input[0], 0.0)
        if centre:
            taken = add_to_bias(
                write, position, centre * stored.sums, self.graph.element_type(name)
            )
            assert taken, "what is centred has readers with a bias"

    def _new_pair(self, position: int, tensor: str) -> str:
        write, interval, dtype = self.rewriter, self.intervals[tensor], self._dtype(tensor)
        scale = scale_of_type(scale_from_amax(interval.amax), dtype)
        value = tensor
        if interval.centre:
            centre = np.asarray(interval.centre).astype(dtype)
            constant = write.store(f"{tensor}_centre", centre)
            value = write.insert(position, "Sub", [tensor, constant], f"{tensor}_centred")
            self.centres[tensor] = float(centre)
        tail = [write.store(f"{tensor}_scale", scale), self.zero_point]
        codes = write.insert(position, "QuantizeLinear", [value, *tail], f"{tensor}_int8")
        return write.insert(position, "DequantizeLinear", [codes, *tail], f"{tensor}_dq")

    def _stored(self, name: str, axis: int) -> _StoredWeight:
        write = self.rewriter
        weight = quantize_weight(self.graph.constant(name), axis, self.bits, self._dtype(name))
        inputs = (
            write.store(f"{name}_int8", weight.values),
            write.store(f"{name}_scale", weight.scales),
            write.store(f"{name}_zero_point", np.zeros(len(weight.scales), np.int8)),
        )
        others = tuple(i for i in range(weight.values.ndim) if i != axis)
        shape = [-1 if i == axis else 1 for i in range(weight.values.ndim)]
        rounded = weight.values * weight.scales.astype(np.float32).reshape(shape)
        sums = rounded.sum(axis=others, dtype=np.float64)
        return _StoredWeight(inputs, sums)

    def _dtype(self, tensor: str) -> type[np.floating]:
        """Half scales where the graph is half: others would drag the graph to FP32."""
        return _HALF_SCALES.get(self.graph.element_type(tensor), np.float32)
