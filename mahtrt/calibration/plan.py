"""Plans and graphs: the plan that the rules give, and whether a plan fits a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx

from mahtrt.bundle.plan import Block, Plan
from mahtrt.calibration.rules import reason_for_float
from mahtrt.errors import SpecError
from mahtrt.graph.index import GraphIndex
from mahtrt.graph.sites import Site, find_sites, is_weighted
from mahtrt.spec import ModelSpec


def default_plan(model: onnx.ModelProto, spec: ModelSpec, least_channels: int = 1) -> Plan:
    """The plan that the rules of :mod:`mahtrt.calibration.rules` give.

    Args:
        model: A floating-point model with static shapes.
        spec: Gives the scopes that the family keeps in floating point.
        least_channels: The fewest channels of an INT8 convolution that the targets want.

    Raises:
        ModelError: The model is quantised already.
    """
    sites = find_sites(GraphIndex(model))
    groups: dict[str, list[Site]] = {}
    for site, name in zip(sites, block_names([s.scope for s in sites]), strict=True):
        groups.setdefault(name, []).append(site)
    reasons = {
        site.key: reason_for_float(site, spec.quantize.exclude, least_channels) for site in sites
    }
    return Plan(tuple(_block(name, members, reasons) for name, members in groups.items()))


def check_plan(plan: Plan, graph: GraphIndex) -> None:
    """Refuse a plan that does not fit a graph.

    Raises:
        SpecError: It names nodes that the graph lacks, or wants INT8 where no constant weights are.
    """
    for block in plan.blocks:
        where = f"plan: block {block.name!r}"
        lacking = [n for n in (*block.nodes, *block.float_nodes) if n not in graph.position_of]
        if lacking:
            raise SpecError(
                where,
                got=f"{len(lacking)} node(s) that the graph lacks: {', '.join(lacking[:3])}",
                expected="nodes of this ONNX graph",
                fix="Make the plan again from this model.",
            )
        wrong = [n for n in block.nodes if not is_weighted(graph, graph.position_of[n])]
        if wrong and block.precision == "int8":
            raise SpecError(
                where,
                got=f"precision int8 for {wrong[0]}, which has no constant weights",
                expected="products of an activation with constant weights",
                fix="Move it to float_nodes, or set the block's precision to float.",
            )


def block_names(scopes: Sequence[str]) -> list[str]:
    """The block of each product, from the dotted scopes of all of them.

    A block ends at the first list index of the path that is not its end (``decoder.blocks.3``);
    without one it has two parts (``transformer.input``). One part more is kept where several
    products share it (``transformer.layers.2.attention``, next to ``transformer.layers.2``).
    """
    parts = [scope.split(".") for scope in scopes]
    bases = [_base_length(p) for p in parts]
    longer = [".".join(p[: base + 1]) for p, base in zip(parts, bases, strict=True)]
    bases_text = [".".join(p[:base]) for p, base in zip(parts, bases, strict=True)]
    names = []
    for path, base, wide, narrow in zip(parts, bases, bases_text, longer, strict=True):
        has_index = path[base - 1].isdigit()
        shared = len(path) > base and longer.count(narrow) > 1
        names.append(narrow if has_index and shared else wide)
    return names


def _base_length(path: Sequence[str]) -> int:
    index = next((i for i, part in enumerate(path[:-1]) if part.isdigit()), None)
    return min(2, len(path)) if index is None else index + 1


def _block(name: str, sites: Sequence[Site], why: Mapping[str, str | None]) -> Block:
    reasons = {site.key: why[site.key] for site in sites}
    float_nodes = {key: reason for key, reason in reasons.items() if reason}
    share = round(sum(site.flops_share for site in sites), 6)
    if len(float_nodes) == len(sites):
        reason = "; ".join(dict.fromkeys(float_nodes.values()))
        return Block(name, "float", reason, share, tuple(reasons))
    nodes = tuple(key for key in reasons if key not in float_nodes)
    return Block(name, "int8", "every rule for INT8 holds", share, nodes, float_nodes)
