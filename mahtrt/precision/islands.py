"""Which nodes stay FP32 in a half-precision graph, each with its reason in words.

The islands, and why they are where they are:

- *Decoding*: everything after the last convolution on the way to an output, and the matrix product
  of a regression head: a coordinate of 300 pixels in FP16 is known to a quarter of a pixel.
- *Sums and powers*, with what brings them back to range: squares, exponentials and sums of many
  values leave FP16's range although their roots and quotients do not. This covers decomposed
  normalisations. LayerNormalization, Softmax and Gelu as single operators keep their statistics
  inside the kernel, in FP32, and stay half: an island there would only break fused attention.
- *Constants* that half cannot hold where they matter: an epsilon of 1e-8, a mask of -1e9.
- *Operators* whose definition does not take the type (:mod:`mahtrt.precision.types`).
- What lies between islands without a product of its own: casting there and back gains nothing.
- What a plan keeps in FP32 (:mod:`mahtrt.precision.float32`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from mahtrt.errors import ModelError
from mahtrt.graph.flops import PRODUCTS
from mahtrt.graph.index import GraphIndex, attribute
from mahtrt.graph.sites import is_thin, is_weighted, tail_positions, weight_axis
from mahtrt.precision.constants import Loss, loss_of
from mahtrt.precision.float32 import float32_region
from mahtrt.precision.types import Half, HalfSlots, float_slots, half_slots

# A softmax over more values than this has outputs below FP16's normal range even when it is flat.
MAX_SOFTMAX_VALUES = 2048

_SUMS = (
    *("ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceProd", "CumSum"),
    *("ReduceLogSum", "ReduceLogSumExp", "LpNormalization"),
)
_POWERS = ("Exp", "Pow")
_NORMALISATION = ("Sub", "Add", "Mul", "Div")
_ADDITIVE = ("Add", "Sub")

# An island goes on through these (and through additions of constants), and ends with those.
_STATISTICS = ("ReduceMean", *_SUMS, *_POWERS, "Sqrt", "Reciprocal", "Log", "Abs", "Max", "Clip")
_ENDS = ("Div", "Mul", "Softmax", "Where")


class Islands:
    """Finds the FP32 islands of a graph.

    Args:
        keep: Names of products that stay FP32 because a plan wants it.

    Attributes:
        reasons: Position of each node that stays FP32 -> why.
        slots: Position of each node that becomes half -> which inputs and outputs do.
        losses: Constant -> what its rounding loses, where that is notable.

    Raises:
        ModelError: A product's constant is beyond the range of the half type, or holds NaN.
    """

    def __init__(self, graph: GraphIndex, dtype: Half, keep: Collection[str] = ()) -> None:
        self.graph, self.dtype = graph, dtype
        self.reasons: dict[int, str] = {}
        self.losses: dict[str, Loss] = {}
        self.slots = self._possible()
        self._add(float32_region(graph, keep), "the plan keeps it in FP32")
        tail = tail_positions(graph)
        self._add(tail, "after the last product on the way to an output")
        self._add(self._regressions(tail), "matrix product that makes an output")
        self._add((p for p in self.slots if is_thin(graph, p)), "thin matrix product")
        self._add(self._image_normalisation(), "image normalisation")
        self._add_sums()
        self._add_constants()
        self._add_between()
        self.slots = {p: found for p, found in self.slots.items() if p not in self.reasons}

    def _add(self, positions: Iterable[int], reason: str) -> None:
        for position in positions:
            if position in self.slots:
                self.reasons.setdefault(position, reason)

    def _possible(self) -> dict[int, HalfSlots]:
        """The nodes that compute with FP32 tensors, but for those that only make constants."""
        found = {}
        for position, node in enumerate(self.graph.nodes):
            touches = float_slots(self.graph, [*node.input, *node.output])
            if not touches or all(self.graph.is_constant(name) for name in node.output):
                continue
            found[position] = half_slots(self.graph, position, self.dtype)
            reason = found[position].reason
            if reason:
                self.reasons[position] = reason
        return found

    def _regressions(self, tail: set[int]) -> Iterator[int]:
        """The matrix products from which an output is reached without another product."""
        graph = self.graph
        for position, node in enumerate(graph.nodes):
            if node.op_type not in ("MatMul", "Gemm") or not is_weighted(graph, position):
                continue
            readers = graph.consumers.get(node.output[0], [])
            if node.output[0] in graph.outputs or any(reader in tail for reader in readers):
                yield position

    def _image_normalisation(self) -> Iterator[int]:
        """Arithmetic with constants on the image before anything else."""
        stack = [p for name in self.graph.inputs for p in self.graph.consumers.get(name, ())]
        while stack:
            position = stack.pop()
            node = self.graph.nodes[position]
            constants = sum(self.graph.is_constant(name) for name in node.input)
            if node.op_type in _NORMALISATION and constants == 1:
                yield position
                stack.extend(self.graph.consumers.get(node.output[0], ()))

    def _add_sums(self) -> None:
        for position in self.slots:
            op = self.graph.nodes[position].op_type
            if op in _SUMS:
                self._grow(position, "sum of many values")
            elif self.dtype == "fp16" and (op in _POWERS or self._is_square(position)):
                self._grow(position, "powers leave the range of fp16 early")
            elif self.dtype == "fp16" and op == "Softmax":
                length = self._softmax_length(position)
                if length > MAX_SOFTMAX_VALUES:
                    self._add([position], f"softmax over {length} values")

    def _softmax_length(self, position: int) -> int:
        node = self.graph.nodes[position]
        shape = self.graph.shape(node.input[0])
        return shape[attribute(node, "axis", -1)] if shape else 0

    def _add_constants(self) -> None:
        for position in list(self.slots):
            if position in self.reasons:
                continue
            for slot in self.slots[position].inputs:
                name = self.graph.nodes[position].input[slot]
                if self.graph.is_constant(name):
                    self._judge(position, slot, name)

    def _judge(self, position: int, slot: int, name: str) -> None:
        """Look at one constant that a node would read in half precision."""
        node, value = self.graph.nodes[position], self.graph.constant(name)
        product = node.op_type in PRODUCTS
        weights = product and slot == 1 and is_weighted(self.graph, position)
        axis = weight_axis(self.graph, position) if weights else None
        loss = loss_of(name, value, self.dtype, axis)
        if loss.overflowing and product:
            raise ModelError(
                f"constant {name!r} of node {self.graph.keys[position]!r}",
                got=f"{loss.overflowing} values beyond the range of {self.dtype}",
                expected="weights that half precision can hold",
                fix="Build this network with --fp32"
                + (" or --bf16." if self.dtype == "fp16" else "."),
            )
        if loss.overflowing:
            self._grow(position, f"constant {name!r} is beyond the range of {self.dtype}")
        elif loss.is_whole and not _is_addend(node.op_type, slot, value.size):
            reason = f"constant {name!r} is below the range of {self.dtype}"
            if product or node.op_type == "LayerNormalization":
                self._add([position], reason)
            else:
                self._grow(position, reason)
        elif loss.is_notable:
            self.losses[name] = loss

    def _grow(self, position: int, reason: str) -> None:
        """Make an island of a node, what leads to it, and what brings its result to range."""
        self._add([position], reason)
        self._spread(position, reason, forward=True)
        self._spread(position, reason, forward=False)

    def _spread(self, start: int, reason: str, *, forward: bool) -> None:
        stack, seen = [start], {start}
        while stack:
            for position in self._neighbours(stack.pop(), forward=forward):
                op = self.graph.nodes[position].op_type
                goes_on = op in _STATISTICS or self._is_square(position)
                goes_on = goes_on or (forward and self._adds_constant(position))
                if position in seen or not (goes_on or (forward and op in _ENDS)):
                    continue
                seen.add(position)
                self._add([position], reason)
                if goes_on:
                    stack.append(position)

    def _neighbours(self, position: int, *, forward: bool) -> list[int]:
        if not forward:
            return list(self.graph.makers(position))
        outputs = self.graph.nodes[position].output
        return [reader for name in outputs for reader in self.graph.consumers.get(name, ())]

    def _is_square(self, position: int) -> bool:
        node = self.graph.nodes[position]
        return node.op_type == "Mul" and node.input[0] == node.input[1]

    def _adds_constant(self, position: int) -> bool:
        node = self.graph.nodes[position]
        return node.op_type in _ADDITIVE and any(map(self.graph.is_constant, node.input))

    def _add_between(self) -> None:
        """Give to the islands the regions between them that hold no product."""
        seen: set[int] = set()
        for position in self.slots:
            if position not in seen and position not in self.reasons:
                region = self._region(position)
                seen |= region
                if not any(self.graph.nodes[p].op_type in PRODUCTS for p in region):
                    self._add(sorted(region), "no product between FP32 islands")

    def _region(self, start: int) -> set[int]:
        """The half nodes that are connected with one."""
        region, stack = {start}, [start]
        while stack:
            position = stack.pop()
            for forward in (True, False):
                for other in self._neighbours(position, forward=forward):
                    if other in self.slots and other not in self.reasons and other not in region:
                        region.add(other)
                        stack.append(other)
        return region


def _is_addend(op: str, slot: int, size: int) -> bool:
    """Whether a constant is a bias, of which too little to hold is too little to matter.

    A single number that is added is an epsilon: it matters where everything else is 0.
    """
    if op in (*PRODUCTS, "LayerNormalization"):
        return slot == 2
    return op in _ADDITIVE and size > 1
