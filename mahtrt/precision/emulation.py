"""The numerics of half precision in an FP32 graph, so that any CPU shows them.

ONNX Runtime takes an FP16 graph on a CPU, but computes it in FP32 and leaves out the rounding
between nodes; BF16 convolutions it does not run at all. Here tensors are rounded to the bits of the
half type, and FP32 engines compute with what is left.

Activations are rounded by arithmetic that no runtime removes, as Veltkamp splits a float: with
``c = 65537 x`` in FP32, ``c - (c - x)`` is ``x`` rounded to the nearest of 24 - 16 = 8 bits. A Cast
to BFLOAT16 and back would be plainer, but OpenVINO (2026.4.1) removes the pair and computes in full
precision. The split differs from a Cast only in which neighbour an exact tie goes to, and beyond
2^111. Range is not emulated: :mod:`mahtrt.graph.finite` looks at that.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
from onnx import TensorProto

from mahtrt.graph.flops import PRODUCTS
from mahtrt.graph.index import GraphIndex
from mahtrt.graph.rewrite import GraphRewriter
from mahtrt.graph.sites import is_thin, tail_positions
from mahtrt.precision.constants import half_from_float32
from mahtrt.precision.islands import Islands
from mahtrt.precision.opset import with_bf16_opset
from mahtrt.precision.types import Half

# 2^(24 - bits) + 1, for types of 11 and of 8 significant bits
SPLIT: dict[Half, float] = {"fp16": 2.0**13 + 1, "bf16": 2.0**16 + 1}


def emulate_half(
    model: onnx.ModelProto, dtype: Half, keep: Collection[str] = ()
) -> onnx.ModelProto:
    """An FP32 model that rounds where :func:`mahtrt.precision.half.to_half` would.

    Kernels that fuse several nodes round less often, so this bounds their error rather than
    repeating it. Graph outputs leave in FP32 as they were made.

    Args:
        model: The FP32 model that would be given to ``to_half``.
        dtype: ``"fp16"`` or ``"bf16"``.
        keep: As for ``to_half``.

    Raises:
        ModelError: As ``to_half``.
    """
    # The newer opset decides what can be BF16; the graph that is run keeps its own.
    graph = GraphIndex(with_bf16_opset(model) if dtype == "bf16" else model)
    slots = Islands(graph, dtype, keep).slots
    write = _Rounding(GraphIndex(model), dtype, "mahtrt_half_split")
    half = {graph.nodes[p].output[slot] for p, s in slots.items() for slot in s.outputs}
    for position, node in enumerate(graph.nodes):
        wanted = slots[position].inputs if position in slots else ()
        for slot, name in enumerate(node.input):
            if slot in wanted or name in half:
                write.round_input(position, slot)
    return write.finish()


def round_to_bf16(model: onnx.ModelProto, keep: Collection[str] = ()) -> onnx.ModelProto:
    """A copy of a model whose products see BF16 inputs and accumulate in FP32, as BF16 CPUs do.

    Soft-argmax stays FP32: neither the nodes after the last product on the way to an output, nor
    matrix products with an inner or outer size below 16 (coordinate sums) are touched.

    Args:
        model: An FP32 model with static shapes.
        keep: Names of products that see FP32.

    Raises:
        ModelError: The model is quantised.
    """
    graph = GraphIndex(model)
    write = _Rounding(graph, "bf16", "mahtrt_bf16_split")
    exact = tail_positions(graph) | {graph.position_of[name] for name in keep}
    for position, node in enumerate(graph.nodes):
        if node.op_type not in PRODUCTS or position in exact or is_thin(graph, position):
            continue
        for slot, name in enumerate(node.input[:2]):
            if graph.element_type(name) == TensorProto.FLOAT:
                write.round_input(position, slot)
    return write.finish()


class _Rounding(GraphRewriter):
    """Rounds inputs of nodes to a half type's bits, each tensor once."""

    def __init__(self, graph: GraphIndex, dtype: Half, split: str) -> None:
        super().__init__(graph)
        self.dtype = dtype
        self.split = self.store(split, np.asarray(SPLIT[dtype], np.float32))
        self.rounded: dict[str, str] = {}

    def round_input(self, position: int, slot: int) -> None:
        name = self.graph.nodes[position].input[slot]
        if name not in self.rounded:
            self.rounded[name] = self._round(position, name)
        self.replace_input(position, slot, self.rounded[name])

    def _round(self, position: int, name: str) -> str:
        if self.graph.is_constant(name):
            value = half_from_float32(self.graph.constant(name), self.dtype).astype(np.float32)
            return self.store(f"{name}_{self.dtype}", value)
        scaled = self.insert(position, "Mul", [name, self.split], f"{name}_split")
        rest = self.insert(position, "Sub", [scaled, name], f"{name}_rest")
        return self.insert(position, "Sub", [scaled, rest], f"{name}_{self.dtype}")
