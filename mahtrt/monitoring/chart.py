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

    def add(self, score: float) -> bool:
        """Add a score; True where an alarm begins or ends."""
        limit = self.limits.limit
        self.sum = min(limit, max(0.0, self.sum + score - self.limits.allowance))
        was, self.alarmed = self.alarmed, self.sum >= limit or (self.alarmed and self.sum > 0)
        return was != self.alarmed


class Charts:
    """The charts of one statistic, and its last values.

    Args:
        record: The reference.
        chance: Chance of a false alarm of each chart (:mod:`mahtrt.monitoring.limits`).

    Attributes:
        seen: Values so far.
        smallest_shift: Shift of the mean that is found within 200 images, in deviations of the
            reference; None where the reference is too small to find any.
    """

    def __init__(self, record: StatisticRecord, chance: float) -> None:
        self.record, self.seen = record, 0
        self._scorer = Scorer(record, step_of(record.name, record.mean))
        place, width = self._limits("place", chance), self._limits("width", chance)
        self._sums: dict[Change, _Sum] = {}
        if place is not None:
            self._sums |= {"higher": _Sum(place), "lower": _Sum(place)}
        if width is not None:
            self._sums["wider"] = _Sum(width)
        self.smallest_shift = place.smallest_shift if place else None
        self._window: deque[float] = deque(maxlen=WINDOW)

    def add(self, value: float) -> list[Change]:
        """Take a value, and tell which alarms begin or end; one that is not known is passed by."""
        if math.isnan(value):
            return []
        self.seen += 1
        self._window.append(value)
        place, width = self._scorer.score(value)
        scores: dict[Change, float] = {"higher": place, "lower": -place, "wider": width}
        return [change for change, kept in self._sums.items() if kept.add(scores[change])]

    def is_alarmed(self, change: Change) -> bool:
        """Whether an alarm of this change lasts."""
        return change in self._sums and self._sums[change].alarmed

    @property
    def level(self) -> float:
        """How near an alarm is: 0 for nothing, 1 for an alarm."""
        return max((kept.sum / kept.limits.limit for kept in self._sums.values()), default=0.0)

    @property
    def now(self) -> float:
        """Mean of the last values, NaN before the first."""
        return math.fsum(self._window) / len(self._window) if self._window else math.nan

    def _limits(self, kind: Kind, chance: float) -> ChartLimits | None:
        return chart_limits(self.record.images, self.record.ranks, kind, chance)
