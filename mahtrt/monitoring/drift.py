"""Whether the images of a service, and what is found in them, still look as they did at the build.

A bundle keeps statistics of the images that it was built with
(:mod:`mahtrt.bundle.reference_statistics`). Every new image moves the control charts of each of
them (:mod:`mahtrt.monitoring.chart`), and one that leaves its range is an alarm: raised once,
cleared once. The chance of any false alarm within 2,000 independent images of the same kind is at
most 1 in 1,000, over all statistics together; docs/drift.md tells what that means in practice.

    monitor = DriftMonitor.of_bundle(read_bundle("model.mahtrt"))
    found = session.run(pixels, spacing_mm=spacing)
    if monitor is not None:
        for alarm in monitor.observe(facts_of(pixels, spacing), found):
            log(alarm.to_dict())
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import Any, Literal

from mahtrt.bundle.bundle import Bundle
from mahtrt.bundle.reference_statistics import ReferenceStatistics, read_reference
from mahtrt.monitoring.chart import CHANGES, Change, Charts
from mahtrt.monitoring.facts import ImageFacts
from mahtrt.monitoring.limits import FALSE_ALARMS
from mahtrt.monitoring.statistics import values_of
from mahtrt.runtime.landmarks import Landmarks

NO_REFERENCE = (
    "The bundle keeps no reference statistics, so drift is not watched; build it again with "
    "--calib or --eval to have them."
)


@dataclass(frozen=True, slots=True)
class DriftAlarm:
    """A statistic left its range, or is back in it.

    Attributes:
        statistic: Which one, such as ``image.p50`` (docs/drift.md lists them).
        change: How it differs from the reference.
        state: Whether the alarm begins or ends.
        reference: Mean over the reference images.
        now: Mean over the last 200 images, or those there were, of which some may be from before
            the change.
        images: Images observed so far.
    """

    statistic: str
    change: Change
    state: Literal["raised", "cleared"]
    reference: float
    now: float
    images: int

    def to_dict(self) -> dict[str, str | int | float]:
        """Plain facts for a line of a log; nothing in them is of a single image."""
        return {
            "statistic": self.statistic,
            "change": self.change,
            "state": self.state,
            "reference": round(self.reference, 5),
            "now": round(self.now, 5),
            "images": self.images,
        }


@dataclass(frozen=True, slots=True)
class StatisticReport:
    """How one statistic is now.

    Attributes:
        name: Which one.
        reference: Mean over the reference images.
        deviation: Standard deviation over them.
        now: Mean over the last 200 images; None before the first.
        low, high: Range of the mean within which a lasting shift may stay unseen; None where the
            reference is too small to find any.
        level: How near an alarm is: 0 for nothing, 1 for an alarm.
        drifted: The changes whose alarms last; none where all is well.
        images: Images in which it was known.
    """

    name: str
    reference: float
    deviation: float
    now: float | None
    low: float | None
    high: float | None
    level: float
    drifted: tuple[Change, ...]
    images: int


@dataclass(frozen=True, slots=True)
class DriftReport:
    """How all statistics are now.

    Attributes:
        images: Images observed.
        reference_images: Images of the reference.
        alarms: Alarms that were raised so far.
        statistics: One report each, in the order of the reference.
    """

    images: int
    reference_images: int
    alarms: int
    statistics: tuple[StatisticReport, ...]

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the statistics that are out of their range."""
        return tuple(each.name for each in self.statistics if each.drifted)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        from mahtrt.schema import plain

        return {"drifted": list(self.drifted), **plain(self)}


class DriftMonitor:
    """Watches one engine's images and results. Safe to use from several threads.

    Memory is bounded, some 2 KB for each statistic, and no pixel is kept.

    Args:
        reference: The statistics to hold images against.
        false_alarms: Chance of any false alarm within 2,000 images of the same kind.
    """

    def __init__(
        self, reference: ReferenceStatistics, *, false_alarms: float = FALSE_ALARMS
    ) -> None:
        count = max(1, len(reference.statistics) * len(CHANGES))
        chance = false_alarms / count
        self._charts = {each.name: Charts(each, chance) for each in reference.statistics}
        self._reference_images = reference.images
        self._images, self._alarms, self._lock = 0, 0, threading.Lock()

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> DriftMonitor | None:
        """The monitor of a bundle; None where it has no reference (:data:`NO_REFERENCE` says so).

        Raises:
            IntegrityError: The bundle's statistics were changed, or are newer than this version
                reads.
        """
        reference = read_reference(bundle)
        return None if reference is None else cls(reference)

    def observe(self, facts: ImageFacts, found: Landmarks) -> list[DriftAlarm]:
        """Take one image's facts and results.

        Args:
            facts: Of the image as it was given to the session
                (:func:`mahtrt.monitoring.facts.facts_of`).
            found: What the session gave.

        Returns:
            Alarms that begin or end with this image; nearly always none.
        """
        values = values_of(facts, found)
        with self._lock:
            self._images += 1
            alarms = [
                self._alarm(charts, change)
                for name, charts in self._charts.items()
                if (change := charts.add(values.get(name, math.nan))) is not None
            ]
            self._alarms += sum(alarm.state == "raised" for alarm in alarms)
        return alarms

    def report(self) -> DriftReport:
        """How every statistic is now."""
        with self._lock:
            rows = tuple(_row(charts) for charts in self._charts.values())
            return DriftReport(self._images, self._reference_images, self._alarms, rows)

    def _alarm(self, charts: Charts, change: Change) -> DriftAlarm:
        return DriftAlarm(
            charts.record.name,
            change,
            "raised" if charts.alarmed else "cleared",
            charts.record.mean,
            charts.now,
            self._images,
        )


def smallest_shift(reference: ReferenceStatistics) -> float | None:
    """Shift of a mean, in deviations of the reference, that is found within 200 images as a rule.

    Returns:
        None where the reference is too small to find any.
    """
    monitor = DriftMonitor(reference)
    shifts = [each.smallest_shift for each in monitor._charts.values()]
    return min((shift for shift in shifts if shift is not None), default=None)


def _row(charts: Charts) -> StatisticReport:
    record, shift = charts.record, charts.smallest_shift
    reach = None if shift is None else shift * record.deviation
    return StatisticReport(
        name=record.name,
        reference=record.mean,
        deviation=record.deviation,
        now=charts.now if charts.seen else None,
        low=None if reach is None else record.mean - reach,
        high=None if reach is None else record.mean + reach,
        level=charts.level,
        drifted=charts.drifted,
        images=charts.seen,
    )
