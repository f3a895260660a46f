"""A network's graph in the floating-point type that a kind of graph declares."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TYPE_CHECKING

from mahtrt.targets.graph_kinds import FP32_NODES_KEY, GraphKind, RoundedBf16

if TYPE_CHECKING:
    import onnx


def float_graph(
    proto: onnx.ModelProto, kind: GraphKind, keep: Collection[str] = ()
) -> onnx.ModelProto:
    """The graph of a kind, without INT8.

    Args:
        proto: The FP32 export. It is left as it is, and returned where the kind is FP32.
        keep: Names of products that stay FP32 because a plan wants it. Where the graph's types are
            FP32 anyway, its metadata name them, for runtimes that choose another type.
    """
    if isinstance(kind, RoundedBf16):
        from mahtrt.precision.emulation import round_to_bf16

        return round_to_bf16(proto, keep)
    if kind.declares != "fp32":
        from mahtrt.precision.half import to_half

        return to_half(proto, kind.declares, keep)
    return _naming_float32(proto, keep) if keep else proto


def _naming_float32(proto: onnx.ModelProto, keep: Collection[str]) -> onnx.ModelProto:
    """A copy whose metadata name what stays FP32."""
    from mahtrt.graph.index import GraphIndex
    from mahtrt.precision.float32 import float32_region

    graph = GraphIndex(proto)
    made = type(proto)()
    made.CopyFrom(proto)
    names = [graph.keys[position] for position in float32_region(graph, keep)]
    made.metadata_props.add(key=FP32_NODES_KEY, value=json.dumps(names))
    return made
