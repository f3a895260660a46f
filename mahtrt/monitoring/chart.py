"""The control charts of one statistic: whether it lies higher, lower or wider than it did."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Literal

from mahtrt.bundle.reference_statistics import StatisticRecord
from mahtrt.monitoring.limits import ChartLimits, chart_limits
from mahtrt.monitoring.scores import Kind, Scorer
from mahtrt.monitoring.statistics import step_of

WINDOW = 200  # values that "now" is told of
_IS_SHIFT = 0.4  # share of a limit from which values lie on one side

Change = Literal["higher", "lower", "wider"]
CHANGES: tuple[Change, ...] = ("higher", "lower", "wider")


@dataclass(slots=True)
class _Sum:
    """One of Page's cumulative sums.

    It is capped at its limit, so that it is back at 0 soon after the change is over; an alarm
    lasts until then.
    """

    limits: ChartLimits
    sum: float = 0.0
    alarmed: bool = False

    def add(self, score: float) -> None:
        """Add a score."""
        limit = self.limits.limit
        self.sum = min(limit, max(0.0, self.sum + score - self.limits.allowance))
        self.alarmed = self.sum >= limit or (self.alarmed and self.sum > 0)

    @property
    def level(self) -> float:
        """Share of the limit."""
        return self.sum / self.limits.limit


class Charts:
    """The charts of one statistic, and its last values.

    Args:
        record: The reference.
        chance: Chance of a false alarm of each chart (:mod:`mahtrt.monitoring.limits`).

    Attributes:
        seen: Values so far.
        alarmed: Whether an alarm lasts.
        smallest_shift: Shift of the mean that is found within 200 images, in deviations of the
            reference; None where the reference is too small to find any.
    """

    def __init__(self, record: StatisticRecord, chance: float) -> None:
        self.record, self.seen, self.alarmed = record, 0, False
        self._change: Change = "wider"
        self._scorer = Scorer(record, step_of(record.name, record.mean))
        place, width = self._limits("place", chance), self._limits("width", chance)
        self._sums: dict[Change, _Sum] = {}
        if place is not None:
            self._sums |= {"higher": _Sum(place), "lower": _Sum(place)}
        if width is not None:
            self._sums["wider"] = _Sum(width)
        self.smallest_shift = place.smallest_shift if place else None
        self._window: deque[float] = deque(maxlen=WINDOW)

    def add(self, value: float) -> Change | None:
        """Take a value; one that is not known is passed by.

        Returns:
            The change whose alarm begins or ends with it (:attr:`alarmed` tells which); None for
            nearly all values. A statistic has one alarm, however many of its charts have theirs.
        """
        if math.isnan(value):
            return None
        self.seen += 1
        self._window.append(value)
        place, width = self._scorer.score(value)
        scores: dict[Change, float] = {"higher": place, "lower": -place, "wider": width}
        for change, kept in self._sums.items():
            kept.add(scores[change])
        drifted = self.drifted
        if bool(drifted) == self.alarmed:
            return None
        self.alarmed = bool(drifted)
        if drifted:
            self._change = self._told(drifted[0])
        return self._change

    @property
    def drifted(self) -> tuple[Change, ...]:
        """The changes that last; none where all is well."""
        return tuple(change for change, kept in self._sums.items() if kept.alarmed)

    @property
    def level(self) -> float:
        """How near an alarm is: 0 for nothing, 1 for an alarm."""
        return max((kept.level for kept in self._sums.values()), default=0.0)

    @property
    def now(self) -> float:
        """Mean of the last values, NaN before the first."""
        return math.fsum(self._window) / len(self._window) if self._window else math.nan

    def _told(self, change: Change) -> Change:
        """What an alarm is called: a large shift is first seen as wider, but is a shift."""
        known: tuple[Change, ...] = ("higher", "lower")
        sides = [side for side in known if side in self._sums]
        nearest = max(sides, key=lambda side: self._sums[side].level, default=change)
        return nearest if sides and self._sums[nearest].level >= _IS_SHIFT else change

    def _limits(self, kind: Kind, chance: float) -> ChartLimits | None:
        return chart_limits(self.record.images, self.record.ranks, kind, chance)
