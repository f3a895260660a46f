"""The planner: which blocks become INT8 or stay FP32, so that the network is fastest in its budget.

    gains     layer times of the target, without INT8 and with all of it        (gains)
    costs     the sensitivity matrix                                            (sensitivity)
    search    proposals by gain per cost, measured and raced on the target      (search)

The last two races hold the plan and the baselines in one interleaved run each: one picks, the other
says how fast. What is not faster than the float network beyond doubt in the second is not planned,
and the conclusion says so.

A plan of half precision alone is searched for in the same way: its options are blocks in FP32.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mahtrt.bundle.plan import Plan
from mahtrt.data.sample import Dataset
from mahtrt.errors import DataError, UsageError
from mahtrt.measure.limits import Limits
from mahtrt.planning.blocks import Candidate, block_of, compose, decidable, in_fp32, is_fp32
from mahtrt.planning.conclusion import conclusion_of, reason_of
from mahtrt.planning.gains import gains_by_block
from mahtrt.planning.half_conclusion import half_conclusion_of, half_reason_of
from mahtrt.planning.matrix import Sensitivity
from mahtrt.planning.proposals import Knowledge, costs_from
from mahtrt.planning.recipe import NetworkToPlan
from mahtrt.planning.search import RacedPlan, Search, SearchOptions, SearchResult, Tell
from mahtrt.planning.workbench import Bench, BenchSettings, TargetBench
from mahtrt.schema import plain

SCHEMA = "mahtrt.planning/3"

# What the planner's file says of a candidate's accuracy.
_TOLD = (
    *("mean_px", "worst_landmark_mean_px", "single_peak_p99_px", "single_peak_max_px"),
    *("two_peaked", "two_peaked_max_px", "two_peaked_excused", "new_two_peaks"),
    *("mean_mm", "delta_mre_px", "delta_mre_mm", "worst_mre_change_percent"),
    *("maps", "logits", "visibility"),
)


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """How to plan.

    Attributes:
        limits: How far a plan may be from FP32.
        minutes: How long the search may take, building and timing included; what is under way
            when the time is up is finished.
        seed: Seed of the order of timed calls and of the intervals.
        consider_excluded: Also try blocks that the model's spec excludes.
        bench: How engines are built and timed.
    """

    limits: Limits = field(default_factory=Limits)
    minutes: float = 10.0
    seed: int = 0
    consider_excluded: bool = False
    bench: BenchSettings = field(default_factory=BenchSettings)


@dataclass(frozen=True, slots=True)
class PlanResult:
    """What was planned.

    Attributes:
        plan: Every block with its precision, gain, cost and reason. Without an INT8 block where
            INT8 does not pay, or was not asked for: build such a network in :attr:`precision`.
        conclusion: One paragraph for the user.
        rows: The last race: the baselines and the plan, from one interleaved run.
        tried: Plans that were measured on the way.
        target, float_precision: What it was planned for, and what the rest runs in.
        rounds: Number of timed rounds of the last race.
        minutes: How long it took.
    """

    plan: Plan
    conclusion: str
    rows: tuple[RacedPlan, ...]
    tried: tuple[RacedPlan, ...]
    target: str
    float_precision: str
    limits: Limits
    rounds: int
    minutes: float

    @property
    def uses_int8(self) -> bool:
        """Whether any block is INT8."""
        return bool(self.plan.int8_nodes)

    @property
    def precision(self) -> str:
        """What to build: INT8 where any block is, FP32 where all are, else what the rest is."""
        if self.uses_int8:
            return "int8"
        return "fp32" if self.plan.is_fp32 else self.float_precision

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, the plan aside (it is a file of its own)."""
        return {
            "schema": SCHEMA,
            "target": self.target,
            "float_precision": self.float_precision,
            "conclusion": self.conclusion,
            "limits": self.limits.to_dict(),
            "rounds": self.rounds,
            "minutes": round(self.minutes, 2),
            "last_race": [_row_table(row) for row in self.rows],
            "tried": [_row_table(row) for row in self.tried],
        }


def make_plan(
    options: PlanOptions,
    network: NetworkToPlan,
    sensitivity: Sensitivity,
    target: str,
    evaluation: Dataset,
    *,
    tell: Tell | None = None,
) -> PlanResult:
    """Plan a network for a target.

    Args:
        sensitivity: Sensitivity of the same graph and candidates.
        target: Name of the target.
        evaluation: Images to hold candidates against the limits on; none of the calibration's.
        tell: Callback that is told what is being done.

    Raises:
        UsageError: A time or budget that cannot be, or a target without layer times.
        DataError: No evaluation images, or a sensitivity of another graph.
        BuildError: The target refuses the floating-point graph.
        MissingComponentError: The target's package is not installed, or its GPU is not here.
        GateError: The target computes in FP16, in which numbers of this network overflow.
    """
    _check(options, network, sensitivity, evaluation)
    with TargetBench(network, target, evaluation, options.bench, tell=tell) as bench:
        return plan_on(bench, options, network.candidates, sensitivity, tell=tell)


def plan_on(
    bench: Bench,
    options: PlanOptions,
    candidates: Sequence[Candidate],
    sensitivity: Sensitivity,
    *,
    clock: Callable[[], float] = time.monotonic,
    tell: Tell | None = None,
) -> PlanResult:
    """Plan with whatever measures plans; see :func:`make_plan`."""
    begun, tell = clock(), tell or (lambda _: None)
    allowed = _allowed(candidates, options) if options.bench.half is None else ()
    is_half = bool(sensitivity.half) and sensitivity.half == bench.float_precision
    if not allowed and not is_half:
        return _undecided(bench, candidates, options)
    tell("measuring layer times")
    known = Knowledge(candidates, allowed, {}, {}, sensitivity.units)
    if allowed:
        known = _with_int8(bench, known, sensitivity)
    if is_half:
        known = _with_fp32(bench, known, sensitivity)
    left = max(0.0, options.minutes * 60 - (clock() - begun))
    asked = SearchOptions(options.limits, left, options.seed)
    outcome = Search(bench, known, asked, clock=clock, tell=tell).run()
    return PlanResult(
        plan=_plan(known, outcome, bench),
        conclusion=_conclusion(known, outcome, bench, options.limits),
        rows=outcome.rows,
        tried=tuple(outcome.tried),
        target=bench.target,
        float_precision=bench.float_precision,
        limits=options.limits,
        rounds=outcome.rounds,
        minutes=(clock() - begun) / 60,
    )


def _with_int8(bench: Bench, known: Knowledge, sensitivity: Sensitivity) -> Knowledge:
    """Also what INT8 gains and costs in each block."""
    float_ms = bench.block_times_ms(compose(known.candidates, ()))
    int8_ms = bench.block_times_ms(compose(known.candidates, known.allowed))  # kept open: baseline
    gains_ms = gains_by_block(float_ms, int8_ms, known.allowed)
    return replace(known, gains_ms=gains_ms, costs_px=costs_from(sensitivity.blocks))


def _with_fp32(bench: Bench, known: Knowledge, sensitivity: Sensitivity) -> Knowledge:
    """Also what it takes to keep each block in FP32."""
    keepable = tuple(c.name for c in known.candidates if bench.keeps_fp32(c))
    half_costs_px = costs_from(sensitivity.half_blocks)
    known = replace(known, half_costs_px=half_costs_px, keepable=keepable)
    half_ms = bench.block_times_ms(compose(known.candidates, ()), whole=True)
    fp32_ms = bench.block_times_ms(compose(known.candidates, known.all_fp32), whole=True)
    lost = {in_fp32(n): half_ms.get(n, 0.0) - fp32_ms.get(n, 0.0) for n in keepable}
    return replace(known, gains_ms={**known.gains_ms, **lost})


def _undecided(bench: Bench, candidates: Sequence[Candidate], options: PlanOptions) -> PlanResult:
    """The result where no block may be INT8: nothing is measured."""
    plan = compose(candidates, ())
    reasons = "; ".join(dict.fromkeys(b.reason for b in plan.blocks)) or "it has no products"
    return PlanResult(
        plan=plan,
        conclusion=f"There is nothing to decide for {bench.target}: no block of this network may "
        f"be INT8 ({reasons}). The plan is all {bench.float_precision}; nothing was timed.",
        rows=(),
        tried=(),
        target=bench.target,
        float_precision=bench.float_precision,
        limits=options.limits,
        rounds=0,
        minutes=0.0,
    )


def _allowed(candidates: Sequence[Candidate], options: PlanOptions) -> tuple[str, ...]:
    able = decidable(candidates)
    return tuple(c.name for c in able if options.consider_excluded or not c.excluded)


def _check(
    options: PlanOptions, network: NetworkToPlan, sensitivity: Sensitivity, evaluation: Dataset
) -> None:
    graph = network.graph
    if not options.minutes > 0:
        raise UsageError("--plan-minutes", got=str(options.minutes), expected="more than 0")
    if not (options.limits.budget_px >= 0 and options.limits.worst_px >= 0):
        raise UsageError("budget", got=str(options.limits), expected="pixels of 0 or more")
    if not len(evaluation):
        raise DataError("planner", got="no evaluation images", expected="at least one")
    half = options.bench.half
    if half is None:
        wanted, rows = decidable(network.candidates), sensitivity.blocks
    else:
        wanted = tuple(network.candidates)
        rows = sensitivity.half_blocks if sensitivity.half == half else ()
    measured = {row.name for row in rows}
    missing = [c.name for c in wanted if c.name not in measured]
    if sensitivity.onnx_sha256 != graph.sha256 or missing:
        raise DataError(
            "sensitivity",
            got=f"another graph, or no block {missing[0]!r}" if missing else "another graph",
            expected=f"a matrix of {graph.path}",
            fix="Measure it again with mahtrt calibrate --sensitivity.",
        )


def _plan(known: Knowledge, outcome: SearchResult, bench: Bench) -> Plan:
    if known.allowed:
        reasons = {
            c.name: reason_of(c, known, outcome, bench.target)
            for c in known.candidates
            if c.nodes or in_fp32(c.name) in outcome.blocks
        }
    else:
        reasons = {
            c.name: half_reason_of(c, known, outcome, bench.target, bench.float_precision)
            for c in known.candidates
        }
    return compose(
        known.candidates,
        outcome.blocks,
        reasons=reasons,
        gains_ms=known.gains_ms,
        costs_px={name: known.cost_px(name) for name in known.costs_px},
    )


def _conclusion(known: Knowledge, outcome: SearchResult, bench: Bench, limits: Limits) -> str:
    told = conclusion_of if known.allowed else half_conclusion_of
    return told(outcome, bench.target, bench.float_precision, limits)


def _row_table(row: RacedPlan) -> dict[str, Any]:
    found, known = row.against_float, plain(row.accuracy)
    return {
        "name": row.name,
        "int8_blocks": [option for option in row.blocks if not is_fp32(option)],
        "fp32_blocks": [block_of(option) for option in row.blocks if is_fp32(option)],
        "p50_ms": round(row.p50_ms, 4),
        "against_float": [round(v, 4) for v in (found.median, found.low, found.high)],
        "accuracy": {name: known[name] for name in _TOLD},
        "over_limits": list(row.over),
    }
