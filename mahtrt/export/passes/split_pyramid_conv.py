"""A convolution over a top-down sum, as one over the features and one at low resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mahtrt.export.passes.graph_edit import (
    SCOPE_KEY,
    add_initializer,
    conv_constants,
    replace_nodes,
)
from mahtrt.export.passes.pyramid import (
    Level,
    Matrix,
    attribute,
    known_shape,
    linear_matrix,
    read_levels,
    static_shape,
)
from mahtrt.export.passes.windows import Windows, cut

# What the rewritten form may cost at most, as a share of the convolution's arithmetic. Measured on
# a CPU: a 64x64 level of 256 channels, at 0.51 of the arithmetic, takes 0.56 of the time.
MAX_COST_SHARE = 0.6
# The constant matrices are bound by memory, and stay in floating point beside INT8 products.
MATRIX_COST = 2


@dataclass(frozen=True, slots=True)
class _Target:
    """A convolution that can be split, and the levels its input is the sum of.

    Attributes:
        weight: (O, D, kh, kw).
        bias: (O,).
        pads: (top, left, bottom, right).
        out_size: (H, W) of the output.
    """

    conv: ir.Node
    levels: tuple[Level, ...]
    weight: Matrix
    bias: Matrix
    pads: tuple[int, int, int, int]
    batch: int
    out_size: tuple[int, int]


class SplitPyramidConvPass:
    """``Conv(Σ resize^l(lateral_l(feature_l)))`` without the sum at full resolution.

    A feature pyramid widens thin features to many channels, adds them up from coarse to fine, and
    convolves the sum at each level: the largest products of the network, of tensors that hold no
    more than the thin features did. Everything before the convolution is linear, so it is

    - for the fine levels, one convolution over the concatenated *features*, its weights the
      product of both; and
    - for the sum of the coarse ones, a 1x1 convolution where they are, with the weights of the
      k*k taps side by side, then interpolation, shift and sum of the taps as one constant matrix
      per axis, cut into windows (:mod:`mahtrt.export.passes.windows`). Borders (zero padding,
      clamped interpolation) and the laterals' biases are in the matrices, so the result is the
      same everywhere.

    Where the border between fine and coarse lies follows from the cost of each choice.
    """

    def __call__(self, model: ir.Model) -> int:
        shared: _Joined = {}
        convs = [node for node in model.graph if node.op_type == "Conv"]
        return sum(_split(conv, model.graph, shared) for conv in convs)


# Concatenated features by the levels they are of: several convolutions read the same.
_Joined = dict[tuple[ir.Value, ...], ir.Value]


def _split(conv: ir.Node, graph: ir.Graph, shared: _Joined) -> bool:
    target = _target(conv)
    if target is None:
        return False
    costs = [_cost(target, fine) for fine in range(1, len(target.levels) + 1)]
    if min(costs) > MAX_COST_SHARE * prod(target.out_size) * target.weight.size:
        return False
    writer = _Writer(graph, target)
    writer.write(1 + costs.index(min(costs)), shared)
    replace_nodes([conv], writer.nodes, graph)
    return True


def _target(conv: ir.Node) -> _Target | None:
    levels = read_levels(conv.inputs[0])
    constants = conv_constants(conv)
    out, pads = static_shape(conv.outputs[0]), attribute(conv, "pads", (0, 0, 0, 0))
    if not levels or constants is None:
        return None
    weight, bias = constants
    if weight.ndim != 4 or weight.dtype != np.float32:
        return None
    if out is None or attribute(conv, "auto_pad", "NOTSET") != "NOTSET":
        return None
    if any(attribute(conv, name, (1, 1)) != (1, 1) for name in ("strides", "dilations")):
        return None
    if attribute(conv, "group", 1) != 1:
        return None
    wide = (
        weight.astype(np.float64),
        np.zeros(len(weight)) if bias is None else bias.astype(np.float64),
    )
    assert isinstance(pads, tuple)
    return _Target(conv, levels, *wide, pads, out[0], (out[2], out[3]))


def _cost(target: _Target, fine: int) -> int:
    """Multiplications per image if the first ``fine`` levels are convolved directly."""
    outer, inner, kh, kw = target.weight.shape
    levels = target.levels[:fine]
    (height, width), (low_h, low_w) = target.out_size, _size(levels[-1].below)
    channels = sum(level.weight.shape[1] for level in levels)
    direct = height * width * channels * outer * kh * kw
    taps = low_h * low_w * inner * outer * kh * kw
    rows, columns = (cut(_axis_matrix(target, levels, axis)) for axis in (0, 1))
    first = height * rows.depth * columns.blocks * columns.depth * outer
    second = height * width * columns.depth * outer
    return int(direct + taps + MATRIX_COST * (first + second))


class _Writer:
    """Builds the nodes that replace one convolution."""

    def __init__(self, graph: ir.Graph, target: _Target) -> None:
        self.graph, self.target = graph, target
        self.scope = target.conv.metadata_props.get(SCOPE_KEY, "")
        self.prefix = (target.conv.inputs[1].name or "weight") if target.conv.inputs[1] else ""
        self.prefix = self.prefix.removesuffix(".folded").removesuffix(".weight")
        self.nodes: list[ir.Node] = []

    def write(self, fine: int, shared: _Joined) -> None:
        """Write it all, with the first ``fine`` levels convolved directly."""
        levels = self.target.levels[:fine]
        coarse = self._coarse(levels)
        direct = self._direct(levels, self._joined(levels, shared))
        self._add("Add", [direct, coarse], static_shape(direct))

    def _joined(self, levels: Sequence[Level], shared: _Joined) -> ir.Value:
        """The features of the levels in one tensor, at the size of the first."""
        if len(levels) == 1:
            return levels[0].feature
        key = tuple(level.feature for level in levels)
        if key not in shared:
            below = self._joined(levels[1:], shared)
            enlarged = self._resized(below, levels[0].resize)
            first = known_shape(levels[0].feature)
            shape = (first[0], first[1] + known_shape(enlarged)[1], *first[2:])
            scope = levels[0].resize.metadata_props.get(SCOPE_KEY, "")
            inputs = [levels[0].feature, enlarged]
            shared[key] = self._add("Concat", inputs, shape, scope=scope, axis=1)
        return shared[key]

    def _resized(self, value: ir.Value, like: ir.Node) -> ir.Value:
        """The interpolation that ``like`` does, of another tensor of its input's size."""
        shape = (*known_shape(value)[:2], *known_shape(like.outputs[0])[2:])
        inputs = list(like.inputs)
        inputs[0] = value
        if len(inputs) > 3 and inputs[3] is not None:
            inputs[3] = self._constant("sizes", np.array(shape, np.int64))
        node = ir.Node("", "Resize", inputs, like.attributes.values())
        return self._append(node, shape, like.metadata_props.get(SCOPE_KEY, ""))

    def _direct(self, levels: Sequence[Level], joined: ir.Value) -> ir.Value:
        lateral = np.concatenate([level.weight for level in levels], axis=1)  # (D, ΣC)
        weight = np.einsum("odab,dc->ocab", self.target.weight, lateral)
        constants = [
            self._constant("features.weight", weight.astype(np.float32)),
            self._constant("features.bias", self.target.bias.astype(np.float32)),
        ]
        inputs = [joined, *constants]
        node = ir.Node("", "Conv", inputs, self.target.conv.attributes.values())
        return self._append(node, static_shape(self.target.conv.outputs[0]), self.scope)

    def _coarse(self, levels: Sequence[Level]) -> ir.Value:
        """The part of the sum below the levels, with the biases of their laterals.

        Channels last from the 1x1 convolution on: the matrices then are products of whole rows of
        channels, and a runtime with channels-last convolutions has no layout to change. Rows come
        before columns, so that the larger product is one of many small ones.
        """
        batch, (height, width) = self.target.batch, self.target.out_size
        outer, _, kh, kw = self.target.weight.shape
        low_h, low_w = _size(levels[-1].below)
        x = self._taps(levels)  # (B, kh * kw * O, h, w)
        x = self._transposed(x, [0, 2, 3, 1])
        x = self._reshaped(x, (batch, low_h * low_w * kh, kw * outer))
        rows, columns = (self._windows(levels, axis) for axis in (0, 1))
        x = self._gathered(x, _window_places(rows, columns, low_w, kh))
        wide = columns.blocks * columns.depth
        x = self._reshaped(x, (batch, rows.blocks, rows.depth, wide * outer))
        # Constants of more than two axes: an INT8 plan takes them for what they are, no weights.
        x = self._multiplied(self._constant("rows", rows.matrices[None]), x)
        x = self._reshaped(x, (batch, height, columns.blocks, columns.depth, outer))
        x = self._multiplied(self._constant("columns", columns.matrices[None, None]), x)
        x = self._reshaped(x, (batch, height, width, outer))
        return self._transposed(x, [0, 3, 1, 2])

    def _taps(self, levels: Sequence[Level]) -> ir.Value:
        """Each tap of the kernel as a 1x1 convolution of the coarse sum, side by side."""
        below, inner = levels[-1].below, self.target.weight.shape[1]
        weight = self.target.weight.transpose(2, 3, 0, 1).reshape(-1, inner)
        # Interpolation keeps constants, so the biases can be added as deep as the sum goes.
        bias = weight @ sum(level.bias for level in levels)
        constants = [
            self._constant("taps.weight", weight[:, :, None, None].astype(np.float32)),
            self._constant("taps.bias", bias.astype(np.float32)),
        ]
        shape = (self.target.batch, len(weight), *_size(below))
        return self._add("Conv", [below, *constants], shape, kernel_shape=[1, 1])

    def _windows(self, levels: Sequence[Level], axis: int) -> Windows:
        return cut(_axis_matrix(self.target, levels, axis))

    def _gathered(self, value: ir.Value, places: NDArray[np.int64]) -> ir.Value:
        """The rows at some places of a tensor (B, rows, columns)."""
        batch, _, columns = known_shape(value)
        indices = self._constant("windows", places)
        return self._add("Gather", [value, indices], (batch, len(places), columns), axis=1)

    def _multiplied(self, matrices: ir.Value, value: ir.Value) -> ir.Value:
        *batch, _, wide = known_shape(value)
        return self._add("MatMul", [matrices, value], (*batch, known_shape(matrices)[-2], wide))

    def _transposed(self, value: ir.Value, perm: list[int]) -> ir.Value:
        shape = tuple(known_shape(value)[axis] for axis in perm)
        return self._add("Transpose", [value], shape, perm=perm)

    def _reshaped(self, value: ir.Value, shape: tuple[int, ...]) -> ir.Value:
        sizes = self._constant("shape", np.array(shape, np.int64))
        return self._add("Reshape", [value, sizes], shape)

    def _constant(self, name: str, array: NDArray[np.generic]) -> ir.Value:
        return add_initializer(self.graph, f"{self.prefix}.{name}", array)

    def _add(
        self,
        op: str,
        inputs: Sequence[ir.Value],
        shape: tuple[int, ...] | None,
        *,
        scope: str | None = None,
        **attributes: int | list[int],
    ) -> ir.Value:
        node = ir.Node("", op, inputs, ir.convenience.convert_attributes(attributes))
        return self._append(node, shape, self.scope if scope is None else scope)

    def _append(self, node: ir.Node, shape: tuple[int, ...] | None, scope: str) -> ir.Value:
        if scope:
            node.metadata_props[SCOPE_KEY] = scope
        output = node.outputs[0]
        output.shape = ir.Shape(shape) if shape is not None else None
        output.type = self.target.conv.outputs[0].type
        self.nodes.append(node)
        return output


def _axis_matrix(target: _Target, levels: Sequence[Level], axis: int) -> Matrix:
    """(out, low, k): from the taps at low resolution to the output, along one axis."""
    steps = [
        linear_matrix(_size(level.below)[axis], _size(level.resize.outputs[0])[axis])
        for level in levels
    ]
    whole = reduce(np.matmul, steps)  # (size, low)
    size_out, taps = target.out_size[axis], target.weight.shape[2 + axis]
    padded = np.pad(whole, ((target.pads[axis], target.pads[axis + 2]), (0, 0)))
    return np.stack([padded[tap : tap + size_out] for tap in range(taps)], axis=2)


def _window_places(rows: Windows, columns: Windows, low_w: int, kh: int) -> NDArray[np.int64]:
    """Where (window row, kernel row, window column) lies in (row, column, kernel row), flat."""
    row, kernel_row, column = np.ix_(rows.indices, np.arange(kh), columns.indices)
    places: NDArray[np.int64] = (row * low_w + column) * kh + kernel_row
    return places.reshape(-1)


def _size(value: ir.Value) -> tuple[int, int]:
    """(rows, columns) of a feature map."""
    shape = known_shape(value)
    return shape[2], shape[3]
