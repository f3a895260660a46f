"""Whether INT8 that was planned is really there: a plain build would be FP32 without a word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahtrt.errors import GateError, some_of

if TYPE_CHECKING:
    from mahtrt.bundle.plan import Plan
    from mahtrt.graph.describe import GraphSummary

_SHOWN = 4


def check_int8(graph: GraphSummary, plan: Plan, int8_products: int | None = None) -> None:
    """Refuse a graph or engine without the INT8 that its plan asked for.

    Args:
        graph: What ``describe_graph`` says of the graph that the engine was built from.
        plan: What was asked for; a plan without INT8 blocks is always met.
        int8_products: How many products of the built engine run in INT8, where that is known.

    Raises:
        GateError: Blocks planned in INT8 have no INT8 product in the graph, or the engine has none
            at all (exit 3). Names the blocks.
    """
    planned = [block for block in plan.blocks if block.precision == "int8" and block.nodes]
    if not planned:
        return
    present = set(graph.int8_names)
    lacking = [block.name for block in planned if not present & set(block.nodes)]
    if lacking:
        raise GateError(
            "INT8 graph",
            got=f"{graph.int8_layers} INT8 layers, none of them in {some_of(lacking, _SHOWN)}",
            expected=f"INT8 in all {len(planned)} blocks that the plan names",
            fix="Quantise the graph with this plan, or set these blocks to float in it.",
        )
    if int8_products == 0:
        raise GateError(
            "INT8 engine",
            got="no INT8 layer",
            expected=f"INT8 in {some_of([block.name for block in planned], _SHOWN)}, as planned",
            fix="Look at its layers with mahtrt inspect; build again with another TensorRT, "
            "or without --int8.",
        )
