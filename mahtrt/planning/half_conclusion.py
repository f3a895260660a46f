"""What the planner tells of a plan of half precision alone: why each block, and a paragraph."""

from __future__ import annotations

from mahtrt.measure.contest import MARGIN
from mahtrt.measure.limits import Limits
from mahtrt.planning.blocks import Candidate, in_fp32
from mahtrt.planning.conclusion import moved_in_words, why_fp32
from mahtrt.planning.proposals import ALL_FLOAT, ALL_FP32, Knowledge
from mahtrt.planning.search import REDUCED, SearchResult


def half_reason_of(
    candidate: Candidate, known: Knowledge, outcome: SearchResult, target: str, half: str
) -> str:
    """Why a block is half precision, or stays FP32."""
    name, kept = candidate.name, in_fp32(candidate.name)
    if kept in outcome.blocks:
        return why_fp32(name, known, outcome, target)
    if name not in known.keepable:
        return f"{target} cannot keep it apart: {half} moves {known.half_cost_in_words(name)}"
    gained = -known.gains_ms.get(kept, 0.0)
    text = f"{half} moves {known.half_cost_in_words(name)} for {gained:+.3f} ms of layer time on"
    measured = outcome.why.get(kept)
    return f"{text} {target}" + (f"; {measured}" if measured else "")


def half_conclusion_of(outcome: SearchResult, target: str, half: str, limits: Limits) -> str:
    """One paragraph for the user: what stays FP32, what that takes, and how far landmarks move."""
    rows = {row.name: row for row in outcome.rows}
    chosen = next(row for row in outcome.rows if row.blocks == outcome.blocks)
    whole, exact = rows[ALL_FLOAT], rows[ALL_FP32]
    over = limits.over(whole.accuracy, REDUCED)
    timed = f"{outcome.rounds} interleaved rounds; differences below {MARGIN:.0%} decide nothing."
    told = f"FP32 takes {exact.against_float} of {half}'s time on {target}"
    alone = f" {half} alone is over the budget: {'; '.join(over)}." if over else ""
    if not chosen.blocks:
        return (
            f"All {len(exact.blocks)} blocks in {half} take {chosen.p50_ms:.2f} ms p50, and "
            f"{moved_in_words(chosen.accuracy)}, which is within the budget. {told}; {timed}"
        )
    if chosen.blocks == exact.blocks:
        return (
            f"{half} does not pay on {target}: no plan within the budget is faster than FP32 "
            f"beyond doubt. {told}; {timed}{alone}"
        )
    kept = len(chosen.blocks)
    return (
        f"{len(exact.blocks) - kept} blocks in {half} and {kept} in FP32 take "
        f"{chosen.against_float} of {half}'s time on {target} ({chosen.p50_ms:.2f} ms p50), and "
        f"{moved_in_words(chosen.accuracy)}. {told}; refinement ended because {outcome.ended}; "
        f"{timed}{alone}"
    )
