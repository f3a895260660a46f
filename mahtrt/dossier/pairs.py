"""How far two sets of landmarks of the same images lie apart, in px and mm, with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.benchmarks.accuracy_pass import Cohort
from mahtrt.bundle.records import AccuracyRecord, Interval
from mahtrt.measure.accuracy import LandmarkSet, measure
from mahtrt.measure.bootstrap import Bootstrap
from mahtrt.measure.displacement import compare_points, nearest_rank
from mahtrt.measure.held import HeldLimit
from mahtrt.measure.limits import Limits
from mahtrt.schema import plain


@dataclass(frozen=True, slots=True)
class Displacement:
    """How far landmarks lie apart; px are pixels of the network's input.

    Attributes:
        images, images_mm: How many images were compared, and how many of them have a length in mm.
        mean_px, p99_px, max_px: Over all landmarks of all images; None of a network without.
        mean_px_interval: 95% interval of the mean, over images; None with fewer than eight.
        mean_mm, p99_mm, max_mm: The same over the images whose pixel spacing is known.
        identical: Whether every landmark is at the same place to the last bit.
    """

    images: int
    images_mm: int
    mean_px: float | None = None
    mean_px_interval: Interval | None = None
    p99_px: float | None = None
    max_px: float | None = None
    mean_mm: float | None = None
    mean_mm_interval: Interval | None = None
    p99_mm: float | None = None
    max_mm: float | None = None
    identical: bool = False


@dataclass(frozen=True, slots=True)
class Pair:
    """Two engines, or an engine and the reference, on the same images.

    Attributes:
        first: What ``second`` is compared with.
        held: Every number that is judged, with its limit.
    """

    first: str
    second: str
    displacement: Displacement
    held: tuple[HeldLimit, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every number is within its limit."""
        return all(each.passed for each in self.held)

    def to_dict(self) -> dict[str, Any]:
        """The pair as plain data."""
        return {
            "first": self.first,
            "second": self.second,
            **plain(self.displacement),
            "passed": self.passed,
            "limits": held_dicts(self.held),
        }


def displacement(candidate: LandmarkSet, reference: LandmarkSet, cohort: Cohort) -> Displacement:
    """How far landmarks of the same images lie apart.

    Args:
        cohort: Names of the landmarks, and the spacing of the images.
    """
    images, spacing = len(candidate.image_px), np.asarray(cohort.annotations.spacing_mm)
    known = np.isfinite(spacing).all(axis=1)
    if not cohort.names:
        return Displacement(images, int(known.sum()))
    px = compare_points(candidate.network_px, reference.network_px)  # (N, K)
    mm = compare_points(
        candidate.image_px[known], reference.image_px[known], spacing[known][:, None, ::-1]
    )
    in_px, in_mm = _summary(px, "px"), _summary(mm, "mm")
    same = np.array_equal(candidate.image_px, reference.image_px)
    return Displacement(images, len(mm), **in_px, **in_mm, identical=same)


def compared(
    cohort: Cohort, names: tuple[str, str], limits: Limits, precision: str, seed: int = 0
) -> Pair:
    """Two contenders of a bench, the second held against the first.

    Args:
        precision: As for :meth:`Limits.held`.
        seed: Seed of the bootstrap.
    """
    first, second = names
    reference, candidate = cohort.points[first], cohort.points[second]
    accuracy = measure(candidate, reference, cohort.names, cohort.annotations, seed=seed)
    held = limits.held(accuracy, precision)
    return Pair(first, second, displacement(candidate, reference, cohort), held)


def held_dicts(
    held: tuple[HeldLimit, ...],
    accuracy: AccuracyRecord | None = None,
    found: Displacement | None = None,
) -> list[dict[str, Any]]:
    """Judged numbers as plain data.

    Args:
        accuracy, found: What the numbers are of, which gives their intervals where known.
    """
    return [
        {
            "what": each.what,
            "value": plain(each.value),
            "interval": plain(_interval(each, accuracy, found)),
            "limit": each.limit,
            "kind": "least" if each.is_least else "most",
            "unit": each.unit,
            "passed": each.passed,
            "reason": each.reason,
        }
        for each in held
    ]


def _interval(
    held: HeldLimit, accuracy: AccuracyRecord | None, found: Displacement | None
) -> Interval | None:
    """The 95% interval of a judged number, None where none is known."""
    if held.what == "mean displacement" and found is not None:
        return found.mean_mm_interval if held.unit == "mm" else found.mean_px_interval
    if held.what == "MRE change" and accuracy is not None:
        return accuracy.delta_mre_mm_interval
    return None


def _summary(distances: NDArray[np.float64], unit: str) -> dict[str, Any]:
    """Mean with its interval, 99th percentile and largest of distances (N, K)."""
    if not distances.size:
        return {}
    return {
        f"mean_{unit}": float(distances.mean()),
        f"mean_{unit}_interval": Bootstrap().mean(distances),
        f"p99_{unit}": nearest_rank(distances, 99),
        f"max_{unit}": float(distances.max()),
    }
