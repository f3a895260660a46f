"""Arithmetic of a graph by the precision that each product computes in."""

from __future__ import annotations

from collections import Counter

from mahtrt.errors import ModelError
from mahtrt.graph.flops import flops_by_node
from mahtrt.graph.index import GraphIndex
from mahtrt.graph.layer_precision import precision_of
from mahtrt.parsing import read_json
from mahtrt.targets.graph_kinds import FP32_NODES_KEY

_EIGHT_BITS = ("int8", "uint8")


def flop_by_precision(graph: GraphIndex, floating: str) -> dict[str, int]:
    """Operations of a graph's products, for its whole batch.

    Args:
        floating: What the engine computes in where the graph has no INT8: ``fp32`` or ``bf16``.
            Nodes that the graph's metadata keep in FP32 are FP32 all the same.

    Returns:
        ``int8``, ``fp32`` or ``bf16`` to operations; a multiply and an add are two.
    """
    kept = _kept_float32(graph)
    found: Counter[str] = Counter()
    for position, flop in flops_by_node(graph).items():
        if precision_of(graph, position) in _EIGHT_BITS:
            found["int8"] += flop
        else:
            found["fp32" if graph.nodes[position].name in kept else floating] += flop
    return {precision: flop for precision, flop in found.items() if flop}


def _kept_float32(graph: GraphIndex) -> frozenset[str]:
    text = {each.key: each.value for each in graph.model.metadata_props}.get(FP32_NODES_KEY, "[]")
    names = read_json(text, f"metadata {FP32_NODES_KEY}", "a list of names", error=ModelError)
    return frozenset(names if isinstance(names, list) else ())
