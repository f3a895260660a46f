"""Scales moved across layers, so that the channels of a quantised tensor have similar magnitudes.

A tensor has one INT8 scale; where one channel is much larger than the others, it takes their
precision. If what makes the tensor and everything that reads it are linear in each channel, the
channel can be divided by ``s`` where it is made and the weights that read it multiplied by ``s``:

- :func:`smooth`: LayerNormalization, whose gamma and beta take the division, before matrix
  products ("SmoothQuant", Xiao et al., 2023);
- :func:`equalize`: a convolution, whose weights and bias take it, before convolutions, with only
  what is positively homogeneous in between: ReLU, not SiLU ("Data-Free Quantization Through
  Weight Equalization and Bias Correction", Nagel et al., 2019).

Factors are powers of two, so the floating-point graph computes the same values *to the last bit*
(but for denormals): nothing has to be checked again but INT8. Which factors are chosen is a
matter of taste as far as exactness goes, so a few images are enough for the channels' maxima
(``collect_ranges(..., channel_axes=scalable_channels(...))``).

The ranges of a scaled tensor are no longer those of before: collect them again on the result.
Analytically only the maximum would follow, not a histogram. Node and tensor names stay, so a plan
of the original fits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from mahtrt.errors import UsageError
from mahtrt.graph.index import GraphIndex, attribute
from mahtrt.graph.rewrite import GraphRewriter
from mahtrt.graph.sites import is_weighted, weight_axis

DEFAULT_ALPHA = 0.5

# Keeps scaled weights and activations well inside FP16.
_LARGEST_LOG2 = 8

_NORMS = ("LayerNormalization",)
_CONVOLUTIONS = ("Conv", "ConvTranspose")
# Positively homogeneous, channel by channel, on tensors whose channels are axis 1.
_IMAGE_CARRIERS = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Resize")
_CARRIERS = ("Identity", "Relu", "LeakyRelu", "Dropout")


@dataclass(frozen=True, slots=True)
class Link:
    """A node whose output channels can be scaled, and the products that read them.

    Attributes:
        producer: Position of the node that takes the division.
        ends: Position of each product -> the tensor that it reads.
        axes: The tensors of ``ends`` -> the axis of their channels.
    """

    producer: int
    ends: Mapping[int, str]
    axes: Mapping[str, int]


def scalable_channels(model: onnx.ModelProto, tensors: Iterable[str]) -> dict[str, int]:
    """The tensors whose channels :func:`smooth` and :func:`equalize` can scale.

    Args:
        model: A floating-point model with static shapes.
        tensors: The candidates: those that will be quantised.

    Returns:
        Tensor -> axis of its channels.
    """
    wanted = set(tensors)
    links = find_links(GraphIndex(model), (*_NORMS, *_CONVOLUTIONS))
    return {t: a for link in links for t, a in link.axes.items() if t in wanted}


def smooth(
    model: onnx.ModelProto,
    channel_amax: Mapping[str, Sequence[float] | NDArray[np.floating]],
    alpha: float = DEFAULT_ALPHA,
) -> onnx.ModelProto:
    """A copy of a model whose LayerNormalizations feed matrix products with balanced channels.

    Args:
        model: A floating-point model with static shapes.
        channel_amax: Tensor that products read -> largest magnitude of each channel. Links with
            a tensor that is missing here stay as they are.
        alpha: How much of the imbalance goes to the weights, in [0, 1].

    Raises:
        UsageError: ``alpha`` is out of range.
        ModelError: The model is quantised.
    """
    return _balanced(model, channel_amax, alpha, _NORMS)


def equalize(
    model: onnx.ModelProto,
    channel_amax: Mapping[str, Sequence[float] | NDArray[np.floating]],
    alpha: float = DEFAULT_ALPHA,
) -> onnx.ModelProto:
    """Like :func:`smooth`, for convolutions that feed convolutions."""
    return _balanced(model, channel_amax, alpha, _CONVOLUTIONS)


def find_links(graph: GraphIndex, producers: Sequence[str]) -> list[Link]:
    """The scalable nodes of some operators, in the order of the graph."""
    found = []
    for position, node in enumerate(graph.nodes):
        axis = _output_axis(graph, position) if node.op_type in producers else None
        link = None if axis is None else _follow(graph, position, axis)
        if link is not None:
            found.append(link)
    return found


def _balanced(
    model: onnx.ModelProto,
    channel_amax: Mapping[str, Sequence[float] | NDArray[np.floating]],
    alpha: float,
    producers: Sequence[str],
) -> onnx.ModelProto:
    if not 0 <= alpha <= 1:
        raise UsageError("alpha", got=str(alpha), expected="0 to 1")
    graph = GraphIndex(model)
    constants = _Constants(graph)
    for link in find_links(graph, producers):
        if all(tensor in channel_amax for tensor in link.axes):
            largest = [np.asarray(channel_amax[t], np.float64) for t in link.axes]
            weights = [constants.reach(p, 1, _inner_axis(graph, p)) for p in link.ends]
            factors = _factors(np.max(largest, axis=0), np.max(weights, axis=0), alpha)
            for slot, axis in _scaled_slots(graph, link.producer):
                constants.multiply(link.producer, slot, axis, 1 / factors)
            for position in link.ends:
                constants.multiply(position, 1, _inner_axis(graph, position), factors)
    return constants.write()


def _factors(
    activations: NDArray[np.float64], weights: NDArray[np.float64], alpha: float
) -> NDArray[np.float64]:
    """Powers of two around 1 by which each channel's activations are divided."""
    alive = (activations > 0) & (weights > 0)
    if not alive.any():
        return np.ones_like(activations)
    logs = alpha * np.log2(np.where(alive, activations, 1.0))
    logs -= (1 - alpha) * np.log2(np.where(alive, weights, 1.0))
    logs = np.where(alive, logs - np.median(logs[alive]), 0.0)
    factors: NDArray[np.float64] = np.exp2(np.clip(np.rint(logs), -_LARGEST_LOG2, _LARGEST_LOG2))
    return factors


class _Constants:
    """Constant inputs of nodes, changed in memory and written as initializers of their own."""

    def __init__(self, graph: GraphIndex) -> None:
        self.graph = graph
        self._values: dict[tuple[int, int], NDArray[Any]] = {}

    def value(self, position: int, slot: int) -> NDArray[Any]:
        known = self._values.get((position, slot))
        return self.graph.constant(self._name(position, slot)) if known is None else known

    def reach(self, position: int, slot: int, axis: int) -> NDArray[np.float64]:
        """The largest magnitude along one axis."""
        value = self.value(position, slot)
        others = tuple(i for i in range(value.ndim) if i != axis)
        largest: NDArray[np.float64] = np.abs(value).max(axis=others).astype(np.float64)
        return largest

    def multiply(self, position: int, slot: int, axis: int, factors: NDArray[np.float64]) -> None:
        value = self.value(position, slot)
        shape = [-1 if i == axis else 1 for i in range(value.ndim)]
        self._values[position, slot] = value * factors.astype(value.dtype).reshape(shape)

    def write(self) -> onnx.ModelProto:
        rewriter = GraphRewriter(self.graph)
        for (position, slot), value in self._values.items():
            stored = rewriter.store(f"{self._name(position, slot)}_scaled", value)
            rewriter.replace_input(position, slot, stored)
        return rewriter.finish()

    def _name(self, position: int, slot: int) -> str:
        return str(self.graph.nodes[position].input[slot])


def _output_axis(graph: GraphIndex, position: int) -> int | None:
    """The axis of a producer's output channels, None where they cannot be scaled."""
    node, shape = graph.nodes[position], graph.shape(graph.nodes[position].output[0])
    constants = [name for name in node.input[1:] if name]
    if shape is None or not constants or not all(map(graph.is_constant, constants)):
        return None
    if node.op_type in _NORMS:
        return len(shape) - 1 if attribute(node, "axis", -1) in (-1, len(shape) - 1) else None
    # The groups of a transposed convolution share the axis of its output channels.
    grouped = node.op_type == "ConvTranspose" and attribute(node, "group", 1) != 1
    return None if grouped else 1


def _scaled_slots(graph: GraphIndex, position: int) -> list[tuple[int, int]]:
    """(input, axis of the output channels) of a producer's constants."""
    node = graph.nodes[position]
    first = 0 if node.op_type in _NORMS else weight_axis(graph, position)
    present = [slot for slot in (1, 2) if slot < len(node.input) and node.input[slot]]
    return [(slot, first if slot == 1 else 0) for slot in present]


def _inner_axis(graph: GraphIndex, position: int) -> int:
    """The axis of the input channels in a product's weights."""
    return 1 - weight_axis(graph, position)


def _follow(graph: GraphIndex, producer: int, axis: int) -> Link | None:
    """The link from a producer, None where something reads its channels that is no product."""
    start = graph.nodes[producer].output[0]
    axes, ends = {start: axis}, {}
    joins: list[onnx.NodeProto] = []
    stack = [start]
    while stack:
        tensor = stack.pop()
        if tensor in graph.outputs or tensor not in graph.consumers:
            return None
        for position in graph.consumers[tensor]:
            node = graph.nodes[position]
            if _contracts(graph, position, tensor, axes[tensor]):
                ends[position] = tensor
                continue
            carried = _carried_axis(graph, node, tensor, axes[tensor])
            if carried is None:
                return None
            joins += [node] if node.op_type == "Concat" else []
            if node.output[0] not in axes:
                axes[node.output[0]] = carried
                stack.append(node.output[0])
    if any(axes.get(name) != axes[node.output[0]] for node in joins for name in node.input):
        return None  # joined with channels that are not scaled
    return Link(producer, ends, {tensor: axes[tensor] for tensor in ends.values()})


def _contracts(graph: GraphIndex, position: int, tensor: str, axis: int) -> bool:
    """Whether a node is a product whose weights' input channels are those of a tensor."""
    node, shape = graph.nodes[position], graph.shape(tensor)
    if not is_weighted(graph, position) or list(node.input).count(tensor) != 1 or shape is None:
        return False
    if node.op_type in _CONVOLUTIONS:
        return axis == 1 and attribute(node, "group", 1) == 1
    return axis == len(shape) - 1


def _carried_axis(graph: GraphIndex, node: onnx.NodeProto, tensor: str, axis: int) -> int | None:
    """Where a scalable axis is after a node, None where the node is not linear along it."""
    before, after = graph.shape(tensor), graph.shape(node.output[0])
    if before is None or after is None or len(node.output) > 1 or node.input[0] != tensor:
        is_join = node.op_type == "Concat" and before is not None
        return axis if is_join and _other_axis(node, axis, len(before or ())) else None
    if node.op_type in _CARRIERS or (node.op_type in _IMAGE_CARRIERS and axis == 1):
        pads = attribute(node, "extrapolation_value", 0.0) != 0  # of a Resize: not homogeneous
        return axis if before[axis] == after[axis] and not pads else None
    if node.op_type == "Transpose":
        return list(attribute(node, "perm", range(len(before))[::-1])).index(axis)
    if node.op_type == "Reshape":
        places = [i for i in range(len(after)) if prod(after[:i]) == prod(before[:axis])]
        return next((i for i in places if after[i] == before[axis]), None)
    if node.op_type in ("Concat", "Gather"):
        return axis if _other_axis(node, axis, len(before)) and len(before) == len(after) else None
    if node.op_type == "Slice":
        axes = node.input[3] if len(node.input) > 3 else ""
        known = graph.is_constant(axes) and graph.constant(axes).ravel()
        return axis if known is not False and axis not in np.mod(known, len(before)) else None
    return None


def _other_axis(node: onnx.NodeProto, axis: int, rank: int) -> bool:
    return bool(attribute(node, "axis", 0) % rank != axis)
