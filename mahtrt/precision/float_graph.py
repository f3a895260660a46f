"""A network's graph in the floating-point type that a kind of graph declares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahtrt.targets.graph_kinds import GraphKind, RoundedBf16

if TYPE_CHECKING:
    import onnx


def float_graph(proto: onnx.ModelProto, kind: GraphKind) -> onnx.ModelProto:
    """The graph of a kind, without INT8.

    Args:
        proto: The FP32 export. It is left as it is, and returned where the kind is FP32.
    """
    if isinstance(kind, RoundedBf16):
        from mahtrt.precision.emulation import round_to_bf16

        return round_to_bf16(proto)
    if kind.declares == "fp32":
        return proto
    from mahtrt.precision.half import to_half

    return to_half(proto, kind.declares)
