"""The blocks that a planner decides about, and plans made of them.

They are the blocks of the default plan, with three differences. What INT8 is impossible or
senseless for (products of two activations, grouped convolutions, one position per image, very thin
matrix products, and convolutions that are too thin for the target) is not a candidate and stays in
floating point. What the rules keep in floating point for another reason *is* a candidate, with the
rule's reason, for a measurement may disagree; of a block that the rules split, it is a candidate of
its own. And the blocks of a stage (``encoder.blocks.3.0``, ``encoder.blocks.3.1``) that are ruled
out whole are one.

A planner chooses *options*: names of blocks that are INT8, and ``<name> in FP32`` of blocks that
stay FP32 beside half precision. What no option is chosen of is in the engine's own type.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import onnx

from mahtrt.bundle.plan import Block, Plan
from mahtrt.calibration.plan import default_plan
from mahtrt.calibration.rules import (
    has_constant_weights,
    not_excluded,
    not_grouped,
    not_narrow,
    not_squeezed,
    wide_enough,
)
from mahtrt.graph.index import GraphIndex
from mahtrt.graph.sites import Site, find_sites
from mahtrt.spec import ModelSpec

_IMPOSSIBLE = (has_constant_weights, not_grouped, not_squeezed, wide_enough)
_REST = " (rest)"
_IN_FP32 = " in FP32"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A block whose precision can be chosen, or, without ``nodes``, one that is fixed.

    Attributes:
        name: Unique name of the block.
        nodes: Products that can be INT8.
        float_nodes: Products of the block that cannot -> why.
        flops_share: Share of ``nodes`` and ``float_nodes`` in the graph's arithmetic.
        convolution_share: Share of the convolutions among ``nodes``.
        ruled_out: Why the rules keep ``nodes`` in floating point; "" where they allow INT8.
        excluded: Whether the model's spec is what rules it out.
    """

    name: str
    nodes: tuple[str, ...]
    float_nodes: Mapping[str, str] = field(default_factory=dict)
    flops_share: float = 0.0
    convolution_share: float = 0.0
    ruled_out: str = ""
    excluded: bool = False


def find_candidates(
    model: onnx.ModelProto, spec: ModelSpec, least_channels: int = 1
) -> tuple[Candidate, ...]:
    """Every block of a graph, in its order, those without a choice included.

    Args:
        model: A floating-point model with static shapes.
        spec: Gives the scopes that are excluded.
        least_channels: The fewest channels of an INT8 convolution that the targets want.

    Raises:
        ModelError: The model is quantised already.
    """
    sites = {site.key: site for site in find_sites(GraphIndex(model))}
    rules = (*_IMPOSSIBLE, not_narrow(least_channels))
    impossible = {
        key: why
        for key, site in sites.items()
        if (why := next(filter(None, (rule(site) for rule in rules)), None))
    }
    found: list[Candidate] = []
    for block in default_plan(model, spec, least_channels).blocks:
        found += _candidates(block, sites, impossible, spec.quantize.exclude)
    return _merge_stages(found)


def decidable(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The candidates that have products which can be INT8."""
    return tuple(candidate for candidate in candidates if candidate.nodes)


def in_fp32(name: str) -> str:
    """The option that keeps a block in FP32."""
    return name + _IN_FP32


def is_fp32(option: str) -> bool:
    """Whether an option keeps its block in FP32."""
    return option.endswith(_IN_FP32)


def block_of(option: str) -> str:
    """The block that an option is about."""
    return option.removesuffix(_IN_FP32)


def compose(
    candidates: Sequence[Candidate],
    chosen: Collection[str],
    *,
    reasons: Mapping[str, str] | None = None,
    gains_ms: Mapping[str, float] | None = None,
    costs_px: Mapping[str, float] | None = None,
) -> Plan:
    """The plan of some options.

    Args:
        candidates: All blocks of the graph (:func:`find_candidates`).
        chosen: Options: of a block at most one.
        reasons: Name -> why, instead of what the rules say.
        gains_ms, costs_px: Name -> what goes into the plan's blocks.
    """
    possible = {c.name for c in decidable(candidates)} | {in_fp32(c.name) for c in candidates}
    unknown = set(chosen) - possible
    if unknown:
        raise ValueError(f"no such candidates: {', '.join(sorted(unknown))}")
    blocks = []
    for candidate in candidates:
        int8, fp32 = candidate.name in chosen, in_fp32(candidate.name) in chosen
        if int8 and fp32:
            raise ValueError(f"two options of {candidate.name}")
        whole = (*candidate.nodes, *candidate.float_nodes)
        block = Block(
            name=candidate.name,
            precision="int8" if int8 else "fp32" if fp32 else "float",
            reason=(reasons or {}).get(candidate.name, _reason(candidate, int8)),
            flops_share=round(candidate.flops_share, 6),
            nodes=whole if fp32 else candidate.nodes or tuple(candidate.float_nodes),
            float_nodes=candidate.float_nodes if candidate.nodes and not fp32 else {},
            gain_ms=_rounded(gains_ms, candidate.name),
            cost_px=_rounded(costs_px, candidate.name),
        )
        blocks.append(block)
    return Plan(tuple(blocks))


def _reason(candidate: Candidate, int8: bool) -> str:
    if not candidate.nodes:
        return "; ".join(dict.fromkeys(candidate.float_nodes.values()))
    return candidate.ruled_out or ("every rule for INT8 holds" if int8 else "not chosen")


def _rounded(table: Mapping[str, float] | None, name: str) -> float | None:
    value = math.nan if table is None else table.get(name, math.nan)
    return round(value, 4) if math.isfinite(value) else None


def _candidates(
    block: Block,
    sites: Mapping[str, Site],
    ruled_impossible: Mapping[str, str],
    exclude: Sequence[str],
) -> list[Candidate]:
    """What the rules allow of a block, and what they rule out though it is possible."""
    keys = [*block.nodes, *block.float_nodes]
    impossible = {key: ruled_impossible[key] for key in keys if key in ruled_impossible}
    allowed = block.nodes if block.precision == "int8" else ()
    rest = tuple(key for key in keys if key not in allowed and key not in impossible)
    ruled_out = "; ".join(dict.fromkeys(block.float_nodes.get(k, block.reason) for k in rest))
    rule = not_excluded(exclude)
    excluded = any(rule(sites[key]) for key in rest)
    first = Candidate(
        name=block.name,
        nodes=allowed or rest,
        float_nodes=impossible,
        flops_share=_share([*(allowed or rest), *impossible], sites),
        convolution_share=_share([k for k in allowed or rest if sites[k].is_convolution], sites),
        ruled_out="" if allowed else ruled_out,
        excluded=excluded and not allowed,
    )
    if not allowed or not rest:
        return [first]
    second = Candidate(
        name=block.name + _REST,
        nodes=rest,
        flops_share=_share(rest, sites),
        convolution_share=_share([k for k in rest if sites[k].is_convolution], sites),
        ruled_out=ruled_out,
        excluded=excluded,
    )
    return [first, second]


def _share(keys: Sequence[str], sites: Mapping[str, Site]) -> float:
    return sum(sites[key].flops_share for key in keys)


def _merge_stages(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """One candidate per stage where every block of the stage is ruled out or fixed."""
    stages = [_stage(c.name) for c in candidates]
    open_stages = {
        s for s, c in zip(stages, candidates, strict=True) if c.nodes and not c.ruled_out
    }
    merged: dict[str, Candidate] = {}
    for stage, candidate in zip(stages, candidates, strict=True):
        name = candidate.name if stage in open_stages else stage
        known = merged.get(name)
        merged[name] = replace(candidate, name=name) if known is None else _joined(known, candidate)
    return tuple(merged.values())


def _stage(name: str) -> str:
    """``a.blocks.3`` of ``a.blocks.3.1``; other names are their own stage."""
    parts = name.split(".")
    at = next((i for i, part in enumerate(parts) if part.isdigit()), len(parts))
    nested = len(parts) > at + 1 and parts[at + 1].isdigit()
    return ".".join(parts[: at + 1]) if nested else name


def _joined(first: Candidate, second: Candidate) -> Candidate:
    reasons = dict.fromkeys(
        r for c in (first, second) if c.ruled_out for r in c.ruled_out.split("; ")
    )
    return replace(
        first,
        nodes=(*first.nodes, *second.nodes),
        float_nodes={**first.float_nodes, **second.float_nodes},
        flops_share=first.flops_share + second.flops_share,
        convolution_share=first.convolution_share + second.convolution_share,
        ruled_out="; ".join(reasons),
        excluded=first.excluded or second.excluded,
    )
