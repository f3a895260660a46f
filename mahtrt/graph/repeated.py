"""Graphs of one large operation over and over, to measure what a machine reaches at best.

An operation is one that a network has, or a large convolution whatever the network has. It is
repeated so often that its arithmetic, and neither a call's overhead nor memory, decides the time.
INT8 is written as Q/DQ around every product, as in mahtrt's own INT8 graphs.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mahtrt.graph.flops import flops_by_node
from mahtrt.graph.index import GraphIndex, attribute
from mahtrt.graph.layer_precision import stored_weights

INPUT, OUTPUT = "image", "result"
LEAST_FLOP = 4e9  # of a graph, unless it were too deep
MOST_REPEATS = 16
_OPSET, _IR_VERSION = 20, 10
_SCALE = np.float32(1 / 64)  # of what is quantised: values are around 1
_MOST_CODE = 63  # of weights: 7 bits, which no CPU's products saturate


@dataclass(frozen=True, slots=True)
class LargeConv:
    """A convolution with stride 1 that keeps the size of its image.

    Attributes:
        kernel, size: (rows, columns).
        channels: (in, out).
    """

    kernel: tuple[int, int]
    channels: tuple[int, int]
    size: tuple[int, int]

    @property
    def flop(self) -> int:
        """Operations of one; a multiply and an add are two."""
        return 2 * math.prod((*self.kernel, *self.channels, *self.size))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the input: (1, C, h, w)."""
        return (1, self.channels[0], *self.size)

    def __str__(self) -> str:
        kernel, size = ("x".join(map(str, each)) for each in (self.kernel, self.size))
        return f"Conv {kernel}, {self.channels[0]} to {self.channels[1]} channels, {size}"

    def weights(self, rng: np.random.Generator, is_back: bool) -> NDArray[np.float32]:
        """(out, in, rows, columns) such that values keep their scale."""
        inner, outer = self.channels[:: -1 if is_back else 1]
        spread = math.sqrt(2 / (inner * math.prod(self.kernel)))
        return rng.normal(0, spread, (outer, inner, *self.kernel)).astype(np.float32)

    def node(self, source: str, weights: str, result: str) -> onnx.NodeProto:
        """The product."""
        before = [(side - 1) // 2 for side in self.kernel]
        after = [side // 2 for side in self.kernel]
        return helper.make_node("Conv", [source, weights], [result], pads=[*before, *after])


@dataclass(frozen=True, slots=True)
class LargeMatMul:
    """A matrix product with constant weights: (rows, inner) by (inner, outer)."""

    rows: int
    inner: int
    outer: int

    @property
    def flop(self) -> int:
        """Operations of one; a multiply and an add are two."""
        return 2 * self.rows * self.inner * self.outer

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the input: (1, 1, rows, inner)."""
        return (1, 1, self.rows, self.inner)

    def __str__(self) -> str:
        return f"MatMul {self.rows}x{self.inner} by {self.inner}x{self.outer}"

    def weights(self, rng: np.random.Generator, is_back: bool) -> NDArray[np.float32]:
        """(inner, outer) such that values keep their scale."""
        inner, outer = (self.outer, self.inner) if is_back else (self.inner, self.outer)
        return rng.normal(0, math.sqrt(2 / inner), (inner, outer)).astype(np.float32)

    def node(self, source: str, weights: str, result: str) -> onnx.NodeProto:
        """The product."""
        return helper.make_node("MatMul", [source, weights], [result])


Large = LargeConv | LargeMatMul
# Large enough that every runtime is at its best, and within the caches of one core.
LARGEST = LargeConv((3, 3), (256, 256), (32, 32))


def repeats_of(operation: Large) -> int:
    """How often the operation is in its graph: an even number, there and back."""
    wanted = math.ceil(LEAST_FLOP / operation.flop)
    return min(wanted + wanted % 2, MOST_REPEATS)


def repeated_graph(operation: Large, *, int8: bool = False, seed: int = 0) -> onnx.ModelProto:
    """The operation, one behind the other with a ReLU between, with random weights.

    Every second one goes back from the outputs' channels to the inputs', so that all have the same
    arithmetic.

    Args:
        int8: Q/DQ around every product; else FP32.
    """
    rng = np.random.default_rng(seed)
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, NDArray[np.generic]] = {}
    constants |= {"scale": np.asarray(_SCALE), "zero": np.asarray(np.int8(0))} if int8 else {}
    at = INPUT
    for i in range(repeats_of(operation)):
        weights = operation.weights(rng, bool(i % 2))
        source, stored = at, f"weights{i}"
        if int8:
            source, stored = f"real{i}", f"real_weights{i}"
            nodes += _quantised(at, source, i)
            nodes.append(_real(f"weights{i}", stored))
            constants[f"weights{i}"] = _codes(weights)
        else:
            constants[stored] = weights
        at = f"positive{i}"
        nodes += [operation.node(source, stored, f"product{i}")]
        nodes += [helper.make_node("Relu", [f"product{i}"], [at])]
    nodes.append(helper.make_node("GlobalAveragePool", [at], [OUTPUT]))
    return _model(operation, nodes, constants)


def _quantised(source: str, result: str, number: int) -> list[onnx.NodeProto]:
    codes = f"codes{number}"
    quantise = helper.make_node("QuantizeLinear", [source, "scale", "zero"], [codes])
    return [quantise, _real(codes, result)]


def _real(codes: str, result: str) -> onnx.NodeProto:
    return helper.make_node("DequantizeLinear", [codes, "scale", "zero"], [result])


def _codes(weights: NDArray[np.float32]) -> NDArray[np.int8]:
    return np.clip(np.round(weights / _SCALE), -_MOST_CODE, _MOST_CODE).astype(np.int8)


def _model(
    operation: Large, nodes: list[onnx.NodeProto], constants: dict[str, NDArray[np.generic]]
) -> onnx.ModelProto:
    shape = operation.shape
    graph = helper.make_graph(
        nodes,
        "repeated",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, (*shape[:2], 1, 1))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model


def dominating(graph: GraphIndex) -> tuple[Large, ...]:
    """The convolution and the matrix product of a graph that most of its arithmetic is of.

    Of those with constant weights that are not grouped, each with all of its repetitions.
    """
    flop: Counter[Large] = Counter()
    for position, count in flops_by_node(graph).items():
        operation = _operation(graph, graph.nodes[position]) if count else None
        if operation is not None:
            flop[operation] += count
    found: list[Large] = []
    for kind in (LargeConv, LargeMatMul):
        of_kind = [each for each in flop if isinstance(each, kind)]
        found += sorted(of_kind, key=lambda each: -flop[each])[:1]
    return tuple(found)


def _operation(graph: GraphIndex, node: onnx.NodeProto) -> Large | None:
    """A product as one that can be repeated; None for others."""
    weights, result = graph.shape(node.input[1]), graph.shape(node.output[0])
    if not weights or not result or not stored_weights(graph, node.input[1]):
        return None
    if node.op_type == "Conv" and len(weights) == 4 and attribute(node, "group", 1) == 1:
        return LargeConv((weights[2], weights[3]), (weights[1], weights[0]), (result[2], result[3]))
    if node.op_type in ("MatMul", "Gemm") and len(weights) == 2:
        rows, outer = math.prod(result[:-1]), result[-1]
        return LargeMatMul(rows, math.prod(weights) // outer, outer)
    return None
