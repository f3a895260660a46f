"""Whether the layers of an engine compute in the precisions that its plan says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from mahtrt.errors import GateError, some_of
from mahtrt.targets.layers import UNKNOWN, EngineLayer, EngineLayers

if TYPE_CHECKING:
    from mahtrt.bundle.plan import Plan
    from mahtrt.graph.describe import GraphSummary

_SHOWN = 4


def check_layers(graph: GraphSummary, plan: Plan, layers: EngineLayers, where: str) -> None:
    """Refuse an engine with a product in another precision than its plan's.

    A layer of products that the plan wants in several precisions, and one that tells no type,
    decides nothing.

    Args:
        graph: What ``describe_graph`` says of the typed graph that the engine was built from: what
            is ``float`` in the plan has the type that it has there.
        layers: The engine's, or those of the network that its builder parsed.
        where: The engine, for the message.

    Raises:
        GateError: Names the blocks (exit 3).
    """
    wanted = _wanted(graph, plan)
    block_of = {n: b.name for b in plan.blocks for n in (*b.nodes, *b.float_nodes)}
    differing: dict[str, str] = {}
    for layer in layers.layers:
        nodes = [name for name in layer.origins if name in wanted] if layer.is_product else []
        types = {wanted[name] for name in nodes}
        if len(types) == 1 and layer.types and not types & set(layer.types):
            got = f"{nodes[0]} in {layer.types[0]} instead of {types.pop()}"
            differing.setdefault(block_of[nodes[0]], got)
    if differing:
        raise GateError(
            where,
            got=f"other precisions than the plan's in {len(differing)} blocks: "
            f"{some_of(list(differing), _SHOWN)} ({some_of(list(differing.values()), _SHOWN)})",
            expected="every block in the precision of its plan",
            fix="Set these blocks to what the engine computes in, or build with another target.",
        )


def graph_layers(graph: GraphSummary) -> EngineLayers:
    """The nodes of a graph as layers, for :func:`check_layers`."""
    layers = (
        EngineLayer(each.name, each.op, each.precision, True, (each.name,), (each.precision,))
        for each in graph.layers
        if each.precision != UNKNOWN
    )
    return EngineLayers(tuple(layers), (), detailed=True)


def _wanted(graph: GraphSummary, plan: Plan) -> Mapping[str, str]:
    """Product to the precision that it should be in."""
    typed = {layer.name: layer.precision for layer in graph.layers}
    floats = [name for name in typed.values() if name in ("fp16", "bf16")]
    half = floats[0] if floats else "fp32"
    return dict(_wanted_of_blocks(plan, typed, half))


def _wanted_of_blocks(plan: Plan, typed: Mapping[str, str], half: str) -> Iterator[tuple[str, str]]:
    for block in plan.blocks:
        for name in block.nodes:
            if block.precision != "float":
                yield name, block.precision
        # What a plan leaves to the engine is what the graph made of it, but never INT8.
        left = (*(block.nodes if block.precision == "float" else ()), *block.float_nodes)
        for name in left:
            precision = typed.get(name, UNKNOWN)
            if precision != UNKNOWN:
                yield name, half if precision == "int8" else precision
