"""What a plan may cost, and what it was found to cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.measure.accuracy import Accuracy
from mahtrt.measure.displacement import (
    compare_points,
    nearest_rank,
    new_two_peaks,
    two_peaked,
)

# Why something cannot be judged, as the gate says it.
_ALL_PEAKED = "every point has a map with two peaks"
_NO_LENGTH = "the data give no length in mm"
_NO_TRUTH = "the data have no annotations"


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a network found on N images.

    Attributes:
        points_px: (N, K, 2) float64 x, y in network pixels.
        spread_px: (N, K) float64, network pixels, NaN where the network gives none.
    """

    points_px: NDArray[np.float64]
    spread_px: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Budget:
    """How far a plan may move landmarks; what is None is not judged.

    Attributes:
        mean_px: Over all points, network pixels.
        worst_landmark_px: Mean of the worst landmark, network pixels.
        p99_px, max_px: Over the points whose heatmap has one peak, network pixels.
        mean_mm: Over all points of images whose spacing is known.
        delta_mre_mm: How much the error against annotations may grow.
        landmark_mre_percent: How much that of any landmark may grow.
    """

    mean_px: float | None = 0.25
    worst_landmark_px: float = 1.0
    p99_px: float | None = None
    max_px: float | None = None
    mean_mm: float | None = None
    delta_mre_mm: float | None = None
    landmark_mre_percent: float | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """How far a plan moved landmarks, network pixels, against the floating-point network.

    Attributes:
        mean_px, worst_landmark_px: Over all points, as the accuracy gate counts.
        p99_px, max_px: Over the points whose heatmap has one peak in the reference; None without
            any.
        two_peaked: How many points have two (:mod:`mahtrt.measure.displacement`).
        two_peaked_max_px: Their largest displacement.
        new_two_peaks: How many have two under the plan alone.
        accuracy: In mm and against annotations too, where the evaluation has them.
    """

    mean_px: float
    worst_landmark_px: float
    p99_px: float | None
    max_px: float | None
    two_peaked: int = 0
    two_peaked_max_px: float = 0.0
    new_two_peaks: int = 0
    accuracy: Accuracy | None = None

    def within(self, budget: Budget) -> bool:
        """Whether the budget holds; what is not finite never does."""
        return not self.over(budget)

    def over(self, budget: Budget) -> tuple[str, ...]:
        """What is over the budget, in words; what cannot be judged is."""
        moved, known = "displacement", self.accuracy
        mean_mm = known.mean_mm if known else None
        mre_mm = known.delta_mre_mm if known else None
        mre_percent = known.worst_mre_change_percent if known else None
        limits = (
            (f"mean {moved}", self.mean_px, budget.mean_px, "px", ""),
            (f"worst landmark {moved}", self.worst_landmark_px, budget.worst_landmark_px, "px", ""),
            (f"p99 {moved}", self.p99_px, budget.p99_px, "px", _ALL_PEAKED),
            (f"largest {moved}", self.max_px, budget.max_px, "px", _ALL_PEAKED),
            (f"mean {moved}", mean_mm, budget.mean_mm, "mm", _NO_LENGTH),
            ("MRE change", mre_mm, budget.delta_mre_mm, "mm", _NO_LENGTH),
            ("MRE change of a landmark", mre_percent, budget.landmark_mre_percent, "%", _NO_TRUTH),
        )
        return tuple(
            f"{what} cannot be judged: {absent}"
            if value is None
            else f"{what} {value:.3g} {unit} over {limit:g}"
            for what, value, limit, unit, absent in limits
            if limit is not None and not (value is not None and value <= limit)
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data; of the accuracy only what is in mm or against annotations."""
        names = [name for name in self.__dataclass_fields__ if name != "accuracy"]
        table = {name: _plain(getattr(self, name)) for name in names}
        for name in ("mean_mm", "delta_mre_px", "delta_mre_mm", "worst_mre_change_percent"):
            table[name] = _plain(getattr(self.accuracy, name, None))
        return table


def cost_of(found: Found, reference: Found, accuracy: Accuracy | None = None) -> Cost:
    """The cost of what a plan's engine found.

    Args:
        found, reference: On the same images.
        accuracy: Of the same, to be kept with it.
    """
    moved = compare_points(found.points_px, reference.points_px)  # (N, K)
    # A broken point is no matter of peaks.
    peaked = two_peaked(reference.spread_px) & np.isfinite(moved)
    single, double = moved[~peaked], moved[peaked]
    return Cost(
        mean_px=float(moved.mean()),
        worst_landmark_px=float(moved.mean(axis=0).max()),
        p99_px=nearest_rank(single, 99) if single.size else None,
        max_px=nearest_rank(single, 100) if single.size else None,
        two_peaked=int(peaked.sum()),
        two_peaked_max_px=nearest_rank(double, 100) if double.size else 0.0,
        new_two_peaks=int(new_two_peaks(reference.spread_px, found.spread_px).sum()),
        accuracy=accuracy,
    )


def _plain(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
