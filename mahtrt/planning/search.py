"""The search for the fastest plan within the budget: proposals, a race, refinement, two last races.

The first of the last races picks the winner, and the second says what it brings.

Every candidate is measured as a whole, accuracy and time, so that what blocks do to each other is
in the numbers; gains and costs of single blocks only say what to measure next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mahtrt.bundle.plan import Plan
from mahtrt.bundle.records import AccuracyRecord
from mahtrt.errors import BuildError
from mahtrt.measure.contest import MARGIN, Ratio, ratio
from mahtrt.measure.limits import Limits
from mahtrt.planning.blocks import block_of, compose, is_fp32
from mahtrt.planning.proposals import (
    ALL_FLOAT,
    ALL_FP32,
    BASELINES,
    BY_PRICE,
    Chosen,
    Knowledge,
    baselines,
    priced,
    proposals,
)
from mahtrt.planning.workbench import Bench

CHOSEN = "planned"
BEFORE = "planned, before refinement"
_MOVES_AT_ONCE = 3
# Shares of the time: the first race, and what is kept for the last one.
_FIRST_RACE, _LAST_RACE = 0.25, 0.25
TOO_MUCH, ALONE = "over the budget together with the others", "over the budget even alone"
NEEDED = "half precision here is over the budget together with the others"
# Plans are held to the limits of a reduced precision, the one without INT8 too.
REDUCED = "int8"

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RacedPlan:
    """One candidate plan, as a race measured it.

    Attributes:
        name: Name of the plan in reports.
        blocks: Its options: INT8 blocks, and blocks in FP32.
        p50_ms: Median duration of one inference.
        against_float: Duration in durations of the plan without INT8, round by round.
        accuracy: How far it is from FP32.
        over: What is over the limits; empty where they hold.
    """

    name: str
    blocks: Chosen
    p50_ms: float
    against_float: Ratio
    accuracy: AccuracyRecord
    over: tuple[str, ...]


@dataclass(slots=True)
class SearchResult:
    """The result of a search.

    Attributes:
        blocks: The options that were chosen, none where nothing pays: INT8 blocks, and blocks that
            stay FP32.
        rows: The last race, which did not pick the winner: all from one interleaved run.
        tried: Earlier races' rows, in the order of the search.
        why: Block -> why it is what it is, where the search decided about it.
        pays: Block -> whether the refinement found that it saves time beyond the noise; only of
            blocks that it toggled.
        rounds: Number of timed rounds of the last race.
        ended: Why the refinement ended.
    """

    blocks: Chosen = ()
    rows: tuple[RacedPlan, ...] = ()
    tried: list[RacedPlan] = field(default_factory=list)
    why: dict[str, str] = field(default_factory=dict)
    pays: dict[str, bool] = field(default_factory=dict)
    rounds: int = 0
    ended: str = ""


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How to search.

    Attributes:
        limits: How far a plan may be from FP32.
        seconds: How long the search may take. What is under way is finished: the last race is
            always run, twice where it is not for nothing.
        seed: Seed of the races.
    """

    limits: Limits
    seconds: float
    seed: int = 0


class Search:
    """One search.

    Args:
        bench: The target.
        known: Gains and costs of the blocks.
        clock: Seconds, monotonic.
        tell: Callback that is told what is being done.
    """

    def __init__(
        self,
        bench: Bench,
        known: Knowledge,
        options: SearchOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
        tell: Tell | None = None,
    ) -> None:
        self.bench, self.known, self.limits = bench, known, options.limits
        self.clock, self.tell = clock, tell or (lambda _: None)
        self.seconds, self.seed, self.begun = options.seconds, options.seed, clock()
        self.outcome = SearchResult()
        self.races = 0
        self.baselines = baselines(known)

    def run(self) -> SearchResult:
        """Search; see the module."""
        found = self._feasible_proposals()
        self.tell(f"timing {len(found) + len(self.baselines)} plans side by side")
        rows = self._race({**self.baselines, **found}, _FIRST_RACE * self.seconds)
        self.outcome.tried += rows
        before = self._best(rows).blocks
        self._forget([row.blocks for row in rows], keep=[before])
        chosen = self._refine(before)
        self._last_race(before, chosen)
        return self.outcome

    def _plan(self, chosen: Chosen) -> Plan:
        return compose(self.known.candidates, chosen)

    def _accuracy(self, chosen: Chosen) -> AccuracyRecord | None:
        """How far a set of blocks moves landmarks, None where the target refuses the plan."""
        try:
            return self.bench.accuracy(self._plan(chosen))
        except BuildError:
            if not chosen:  # the float plan: there is nothing to plan without it
                raise
            return None

    def _holds(self, chosen: Chosen) -> bool:
        """Whether a set of blocks is within the limits."""
        accuracy = self._accuracy(chosen)
        return accuracy is not None and not self.limits.over(accuracy, REDUCED)

    def _forget(self, sets: Iterable[Chosen], keep: Iterable[Chosen]) -> None:
        """Let the bench close engines, save those of the baselines and of ``keep``."""
        kept = {*self.baselines.values(), *keep}
        for chosen in sets:
            if chosen not in kept:
                self.bench.forget(self._plan(chosen))

    def _left(self) -> float:
        return self.seconds - (self.clock() - self.begun)

    def _feasible_proposals(self) -> dict[str, Chosen]:
        """The proposals, with blocks taken out until they are within the budget."""
        found: dict[str, Chosen] = {}
        if self.known.is_half:
            within = self._cheapest_price()
            if within not in self.baselines.values():
                found[BY_PRICE] = within
            if not self._holds(()):  # then no plan without FP32 holds
                return found
        for name, chosen in proposals(self.known, self.limits).items():
            self.tell(f"measuring accuracy: {name}")
            within = self._back_off(chosen)
            if within and within not in (*found.values(), *self.baselines.values()):
                found[name] = within
        return found

    def _cheapest_price(self) -> Chosen:
        """The plan at the lowest price at which it is within the budget, by bisection."""
        plans = priced(self.known)
        low, high = 0, len(plans) - 1  # the last one is within: all of it is FP32
        while low < high and self._has_time:
            middle = (low + high) // 2
            self.tell(f"measuring accuracy: {BY_PRICE}")
            if self._holds(plans[middle]):
                high = middle
            else:
                low = middle + 1
                self._forget([plans[middle]], keep=[])
        return plans[high]

    def _back_off(self, chosen: Chosen) -> Chosen:
        """Take out the blocks that cost most for their gain, more at once each time."""
        step = 1
        while chosen and not self._holds(chosen):
            self._forget([chosen], keep=[])
            # Once time is short, half of what is left goes: a coarse answer is better than none.
            step = max(step, len(chosen) // 2) if self._left() < self.seconds / 2 else step
            dropped = self.known.ranked(chosen)[-step:]
            for name in dropped:
                self.outcome.why[name] = TOO_MUCH if len(chosen) > 1 else ALONE
            chosen = tuple(name for name in chosen if name not in dropped)
            step *= 2
        return chosen

    def _race(self, sets: Mapping[str, Chosen], seconds: float) -> list[RacedPlan]:
        """Time some sets in one run, with the float plan among them."""
        sets = {ALL_FLOAT: (), **sets}
        known = {name: self._accuracy(chosen) for name, chosen in sets.items()}
        moved = {
            name: accuracy
            for name, accuracy in known.items()
            if accuracy is not None and (name == ALL_FLOAT or accuracy.is_finite)
        }
        plans = {name: self._plan(sets[name]) for name in moved}
        self.races += 1
        timings = self.bench.race(plans, seconds, self.seed + self.races)
        self.outcome.rounds = timings[ALL_FLOAT].runs
        self._ratios = {
            (a, b): ratio(timings[a], timings[b], seed=self.seed) for a in plans for b in plans
        }
        return [
            RacedPlan(
                name=name,
                blocks=sets[name],
                p50_ms=timings[name].p50_ms,
                against_float=self._ratios[name, ALL_FLOAT],
                accuracy=accuracy,
                over=self._over(accuracy, sets[name]),
            )
            for name, accuracy in moved.items()
        ]

    def _over(self, accuracy: AccuracyRecord, chosen: Chosen) -> tuple[str, ...]:
        """What a plan is over; the float plan only where there are plans nearer to FP32."""
        if not chosen and not self.known.is_half:
            return ()
        return self.limits.over(accuracy, REDUCED)

    def _best(self, rows: Sequence[RacedPlan]) -> RacedPlan:
        """The fastest within the budget by its median; the float plan or all FP32 is within."""
        within = [row for row in rows if not row.over]
        return min(within, key=lambda row: (row.against_float.median, len(row.blocks)))

    def _refine(self, chosen: Chosen) -> Chosen:
        """Take blocks out that do not pay and put blocks in that do, a few tries per race."""
        first, tried = chosen, {chosen}
        moves = self._moves(chosen)
        while moves and self._has_time:
            batch: dict[str, Chosen] = {}
            while moves and len(batch) < _MOVES_AT_ONCE and self._has_time:
                name = moves.pop(0)
                moved = self._toggled(chosen, name)
                if moved in tried or not self._is_within(name, moved):
                    continue
                tried.add(moved)
                batch[name] = moved
            if not batch:
                continue
            self.tell(f"refining: {', '.join(batch)}")
            rows = self._race({CHOSEN: chosen, **batch}, self.seconds / 20)
            self.outcome.tried += [self._as_move(row, chosen) for row in rows if row.name in batch]
            better = self._accepted(batch, chosen)
            before, chosen = chosen, batch.get(better or "", chosen)
            self._forget([before, *batch.values()], keep=[first, chosen])
            if better is not None:
                # The others of the batch were measured against what is no longer there.
                moves = [n for n in batch if n != better] + moves
        self.outcome.ended = "the time was up" if moves else "nothing left to try"
        return chosen

    @property
    def _has_time(self) -> bool:
        return self._left() > _LAST_RACE * self.seconds

    def _moves(self, chosen: Chosen) -> list[str]:
        """Options to toggle: those nearest to not paying first, in turn with those left out.

        What is FP32 is taken out or replaced by INT8, and nothing is put there: that gains nothing
        by itself. Neither does INT8 that took as long as floating point where its neighbours were
        INT8 too, and would now need conversions on both sides.
        """
        gain = self.known.gains_ms
        out = sorted(chosen, key=lambda name: gain.get(name, 0.0))
        left = [
            name
            for name in self.known.allowed
            if name not in chosen
            and (gain.get(name, 0.0) > 0 or self.known.is_beside(name, chosen))
        ]
        into = sorted(left, key=lambda name: -gain.get(name, 0.0))
        order = []
        for i in range(max(len(out), len(into))):
            order += [*out[i : i + 1], *into[i : i + 1]]
        return order

    def _toggled(self, chosen: Chosen, name: str) -> Chosen:
        others = {
            option
            for option in chosen
            if block_of(option) != block_of(name)
            # Of a plan that was all FP32: the target cannot keep each of its blocks apart.
            and (not is_fp32(option) or block_of(option) in self.known.keepable)
        }
        return self.known.in_order(others if name in chosen else {*others, name})

    def _accepted(self, batch: Mapping[str, Chosen], chosen: Chosen) -> str | None:
        """The best move of a batch that is an improvement beyond doubt."""
        good = []
        for name, moved in batch.items():
            found = self._ratios[name, CHOSEN]
            taken_out = len(moved) < len(chosen)
            accepted = found.is_no_slower if taken_out else found.is_faster
            self.outcome.why[name] = _why(taken_out, accepted, found)
            self.outcome.pays[name] = _pays(taken_out, accepted, found)
            if accepted:
                good.append((found.median, name))
        return min(good)[1] if good else None

    def _is_within(self, name: str, moved: Chosen) -> bool:
        """Whether a move is within the budget."""
        within = self._holds(moved)
        if not within:
            self._forget([moved], keep=[])
            if name in moved:
                self.outcome.why[name] = TOO_MUCH if len(moved) > 1 else ALONE
            elif is_fp32(name):
                self.outcome.why[name] = NEEDED
        return within

    def _as_move(self, row: RacedPlan, chosen: Chosen) -> RacedPlan:
        sign = "without" if row.name in chosen else "with"
        return replace(row, name=f"{sign} {row.name}")

    def _last_race(self, before: Chosen, chosen: Chosen) -> None:
        """Everything that counts in one run, and the decision."""
        sets = {**self.baselines, CHOSEN: chosen}
        if before != chosen and before not in self.baselines.values():
            sets[BEFORE] = before
        seconds = max(self._left(), _LAST_RACE * self.seconds) / 2
        self.tell("timing the plan beside the baselines")
        rows = self._race(sets, seconds)
        winner = self._winner(rows)
        if winner.blocks:
            # The race that picks a winner flatters it: what is quoted, and whether it pays, comes
            # from another.
            self.outcome.tried += rows
            self.tell("timing the winner once more")
            rows = self._race(sets, seconds)
            winner = next(row for row in rows if row.name == winner.name)
        self.outcome.rows = tuple(rows)
        self.outcome.blocks = self._decided(rows, winner)
        for name in self.outcome.blocks:
            if self.outcome.why.get(name) in (TOO_MUCH, ALONE):  # in the company of others
                del self.outcome.why[name]

    def _decided(self, rows: Sequence[RacedPlan], winner: RacedPlan) -> Chosen:
        """The winner where it pays, beside the float plan, or beside FP32 where that is over."""
        float_row = next(row for row in rows if row.name == ALL_FLOAT)
        rival = next((row for row in rows if row.name == ALL_FP32), None)
        if rival is None or not float_row.over:
            rival = float_row
        pays = bool(winner.blocks) and self._ratios[winner.name, rival.name].is_faster
        return winner.blocks if pays else rival.blocks

    def _winner(self, rows: Sequence[RacedPlan]) -> RacedPlan:
        """The plan of the search, unless another within the budget beats it beyond doubt."""
        winner = next(row for row in rows if row.name == CHOSEN)
        for row in rows:
            beaten = self._ratios[row.name, winner.name]
            if not row.over and row.name != ALL_FLOAT and beaten.is_faster:
                winner = row
        return winner


def _why(taken_out: bool, accepted: bool, found: Ratio) -> str:
    what = "without it" if taken_out else "with it"
    end = ", which is not beyond doubt" if found.median < 1 and not accepted else ""
    return f"{what} the network takes {found} of the time{end}"


def _pays(taken_out: bool, accepted: bool, found: Ratio) -> bool:
    if taken_out:
        return found.low > 1.0 and found.median >= 1.0 + MARGIN
    return accepted


def is_baseline(row: RacedPlan) -> bool:
    """Whether a row is one of the baselines."""
    return row.name in (*BASELINES, ALL_FP32)
