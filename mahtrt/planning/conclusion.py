"""What the planner tells: why each block is what it is, and one paragraph about the plan.

A gain is called one where layer times resolve it and taking the block out again does not show
that less than ``MARGIN`` of the latency hangs on it. What only the budget refuses is told as that.
"""

from __future__ import annotations

from collections.abc import Sequence

from mahtrt.bundle.records import AccuracyRecord
from mahtrt.measure.contest import MARGIN
from mahtrt.measure.limits import Limits
from mahtrt.planning.blocks import Candidate, in_fp32, is_fp32
from mahtrt.planning.proposals import ALL_FLOAT, Knowledge
from mahtrt.planning.search import ALONE, REDUCED, TOO_MUCH, RacedPlan, SearchResult, is_baseline

# Less is nothing: layer times are good to some microseconds.
RESOLUTION_MS = 0.005


def reason_of(candidate: Candidate, known: Knowledge, outcome: SearchResult, target: str) -> str:
    """Why a block is what it is in the plan."""
    name, kept = candidate.name, in_fp32(candidate.name)
    if kept in outcome.blocks:
        return why_fp32(name, known, outcome, target)
    gain = known.gains_ms.get(name)
    if gain is None:
        return candidate.ruled_out
    measured = outcome.why.get(name)
    facts = f"{gain:+.3f} ms of layer time on {target} for {known.cost_in_words(name)}"
    if name in outcome.blocks:
        text = f"{why_int8(gain, outcome.pays.get(name))}: {facts}"
    elif gain <= -RESOLUTION_MS:
        text = f"INT8 does not pay: it takes {-gain:.3f} ms more on {target}"
    elif gain < RESOLUTION_MS:
        text = f"not chosen: its gain is within the noise: {facts}"
    elif measured in (TOO_MUCH, ALONE):
        return f"{measured}: {facts}"
    elif _only_over(name, outcome):
        text = f"over the budget in every plan that was measured with it: {facts}"
    elif not any(not is_fp32(option) for option in outcome.blocks):
        text = f"the network as a whole is not faster with INT8 on {target}"
    else:
        text = f"not chosen: {facts}"
    return f"{text}; {measured}" if measured else text


def why_fp32(name: str, known: Knowledge, outcome: SearchResult, target: str) -> str:
    """Why a block stays FP32, by what half precision costs and gains there."""
    kept = in_fp32(name)
    lost = max(0.0, -known.gains_ms.get(kept, 0.0))
    text = (
        f"stays FP32: half precision moves {known.half_cost_in_words(name)} for {lost:.3f} ms "
        f"of layer time on {target}"
    )
    measured = outcome.why.get(kept)
    return f"{text}; {measured}" if measured else text


def why_int8(gain_ms: float, pays: bool | None) -> str:
    """Why a block is INT8, by its layer times and by what the refinement found."""
    if pays is False or (pays is None and abs(gain_ms) < RESOLUTION_MS):
        return "kept: its gain is within the noise"
    if gain_ms >= RESOLUTION_MS:
        return "INT8 pays"
    return "chosen by timing the whole network" if pays else "kept as part of the fastest plan"


def _only_over(name: str, outcome: SearchResult) -> bool:
    """Whether all plans with a block were over the budget."""
    rows = [row for row in (*outcome.rows, *outcome.tried) if name in row.blocks]
    return bool(rows) and all(row.over for row in rows)


def conclusion_of(outcome: SearchResult, target: str, float_precision: str, limits: Limits) -> str:
    """One paragraph for the user: what was chosen and what it brings, or why nothing was."""
    rows = {row.name: row for row in outcome.rows}
    timed = f"{outcome.rounds} interleaved rounds"
    fp32 = sum(map(is_fp32, outcome.blocks))
    int8 = len(outcome.blocks) - fp32
    if not int8:
        over = limits.over(rows[ALL_FLOAT].accuracy, REDUCED)
        kept = f"{float_precision} with {fp32} blocks in FP32" if fp32 else f"all {float_precision}"
        return (
            f"{_refusal(outcome, target, float_precision)} The plan is {kept}; "
            f"{timed}.{_float_over(over, float_precision)}"
        )
    chosen = next(row for row in outcome.rows if row.blocks == outcome.blocks)
    others = [
        f"{row.name} {row.against_float.median:.3f}{' (over the budget)' if row.over else ''}"
        for row in rows.values()
        if is_baseline(row) and row.blocks and row is not chosen
    ]
    same = f" It is the baseline {chosen.name}." if is_baseline(chosen) else ""
    blocks = f"{int8} blocks in INT8" + (f" and {fp32} in FP32" if fp32 else "")
    return (
        f"{blocks} take {chosen.against_float} of {float_precision}'s "
        f"time on {target} ({chosen.p50_ms:.2f} ms p50), and {moved_in_words(chosen.accuracy)}."
        f"{same} Baselines: {', '.join(others) or 'none'}; {timed}; "
        f"refinement ended because {outcome.ended}; differences below {MARGIN:.0%} decide nothing."
    )


def moved_in_words(found: AccuracyRecord) -> str:
    """How far a plan is from FP32, of every kind of output that there is."""
    said = []
    if found.mean_px is not None:
        worst = f"{found.worst_landmark_mean_px:.4f} px the worst landmark"
        said.append(f"move landmarks by {found.mean_px:.4f} px ({worst})")
    said += [f"change {m.name} by {m.mean:.2g} (SSIM {m.ssim:.4f})" for m in found.maps]
    said += [
        f"move logits of {each.name} by up to {each.max:.2g} ({100 * each.agreement:.2f}% agree)"
        for each in found.logits
    ]
    said += [f"agree in {100 * v.agreement:.2f}% of {v.name}" for v in found.visibility]
    return ", ".join(said)


def _refusal(outcome: SearchResult, target: str, float_precision: str) -> str:
    """Why there is no INT8: because of its time, or only because of the budget."""
    within, over = _fastest(outcome, is_over=False), _fastest(outcome, is_over=True)
    told = f' (the fastest, "{within.name}", takes {within.against_float})' if within else ""
    none = f"is faster than {float_precision} beyond doubt{told}"
    if over is None or not over.against_float.is_faster:
        # Whatever the budget, it would not be built.
        kind = "plan" if over is None else "plan, within the budget or over it,"
        return f"INT8 does not pay on {target}: no {kind} {none}."
    lost = (
        f'"{over.name}", takes {over.against_float} of the time, but is over the budget: '
        f"{'; '.join(over.over)}."
    )
    found = "was found" if within is None else none
    return f"INT8 is refused on {target}: no plan within the budget {found}. The fastest, {lost}"


def _fastest(outcome: SearchResult, *, is_over: bool) -> RacedPlan | None:
    """The fastest INT8 row within or over the budget; the last race has the last word."""
    for rows in (outcome.rows, outcome.tried):
        found = [row for row in rows if _has_int8(row) and bool(row.over) == is_over]
        if found:
            return min(found, key=lambda row: row.against_float.median)
    return None


def _has_int8(row: RacedPlan) -> bool:
    return not all(map(is_fp32, row.blocks))


def _float_over(over: Sequence[str], float_precision: str) -> str:
    return f" Even {float_precision} alone is over the budget: {'; '.join(over)}." if over else ""
