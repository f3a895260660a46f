"""The nodes that stay FP32 because a plan wants it."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from mahtrt.graph.flops import PRODUCTS
from mahtrt.graph.index import GraphIndex
from mahtrt.graph.sites import is_weighted
from mahtrt.targets.target import Target


def float32_region(graph: GraphIndex, products: Iterable[str]) -> list[int]:
    """Products, and what follows on them alone: additions, normalisations, activations.

    The region ends before the next product, and where something comes in that is not FP32, so that
    numbers are rounded once, on the way out.

    Args:
        products: Names of nodes of the graph.

    Returns:
        Positions, in order.
    """
    region = {graph.position_of[name] for name in products}
    for position, node in enumerate(graph.nodes):
        data = [name for name in node.input if name and not graph.is_constant(name)]
        follows = bool(data) and all(graph.producer.get(name) in region for name in data)
        if follows and node.op_type not in PRODUCTS:
            region.add(position)
    return sorted(region)


def lost_float32(graph: GraphIndex, products: Collection[str], target: Target) -> list[str]:
    """The products among some that a target would not keep in FP32 beside half precision.

    Args:
        products: Names of nodes of the graph.
    """
    positions = {name: graph.position_of[name] for name in products}
    return [
        name
        for name, position in positions.items()
        if not target.keeps_fp32(
            graph.nodes[position].op_type, weighted=is_weighted(graph, position)
        )
    ]
