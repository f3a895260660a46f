"""The numerics of a half-precision graph in an FP32 one, so that any CPU shows them.

ONNX Runtime takes an FP16 graph on a CPU, but computes it in FP32 and leaves out the rounding
between nodes; BF16 convolutions it does not run at all. Here every tensor that would be half is
rounded to the bits of the half type, by arithmetic that no runtime removes: Veltkamp's split, as in
:mod:`mahtrt.precision.bf16`. Kernels that fuse several nodes round less often, so this bounds
their error rather than repeating it. Range is not emulated: :mod:`mahtrt.graph.finite` looks
at that. Graph outputs leave in FP32 as they were made.
"""

from __future__ import annotations

import numpy as np
import onnx

from mahtrt.graph.index import GraphIndex
from mahtrt.graph.rewrite import GraphRewriter
from mahtrt.precision.constants import half_from_float32
from mahtrt.precision.islands import Islands
from mahtrt.precision.opset import with_bf16_opset
from mahtrt.precision.types import Half

# 2^(24 - bits) + 1, for types of 11 and of 8 significant bits
_SPLIT: dict[Half, float] = {"fp16": 2.0**13 + 1, "bf16": 2.0**16 + 1}


def emulate_half(model: onnx.ModelProto, dtype: Half) -> onnx.ModelProto:
    """An FP32 model that rounds where :func:`mahtrt.precision.half.to_half` would.

    Args:
        model: The FP32 model that would be given to ``to_half``.
        dtype: ``"fp16"`` or ``"bf16"``.

    Raises:
        ModelError: As ``to_half``.
    """
    # The newer opset decides what can be BF16; the graph that is run keeps its own.
    graph = GraphIndex(with_bf16_opset(model) if dtype == "bf16" else model)
    slots = Islands(graph, dtype).slots
    write = GraphRewriter(GraphIndex(model))
    split = write.store("mahtrt_half_split", np.asarray(_SPLIT[dtype], np.float32))
    half = {graph.nodes[p].output[slot] for p, s in slots.items() for slot in s.outputs}
    rounded: dict[str, str] = {}
    for position, node in enumerate(graph.nodes):
        wanted = slots[position].inputs if position in slots else ()
        for slot, name in enumerate(node.input):
            if slot not in wanted and name not in half:
                continue
            if name not in rounded:
                rounded[name] = _rounded(write, position, name, split, dtype)
            write.replace_input(position, slot, rounded[name])
    return write.finish()


def _rounded(write: GraphRewriter, position: int, name: str, split: str, dtype: Half) -> str:
    """The name of a tensor with the values that another has in half precision."""
    if write.graph.is_constant(name):
        value = half_from_float32(write.graph.constant(name), dtype).astype(np.float32)
        return write.store(f"{name}_{dtype}", value)
    scaled = write.insert(position, "Mul", [name, split], f"{name}_split")
    rest = write.insert(position, "Sub", [scaled, name], f"{name}_rest")
    return write.insert(position, "Sub", [scaled, rest], f"{name}_{dtype}")
