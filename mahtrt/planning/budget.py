"""What a plan may cost, and what it was found to cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.benchmarks.accuracy import Accuracy
from mahtrt.benchmarks.displacement import compare_points, nearest_rank, two_peaked
from mahtrt.planning.store import Found


@dataclass(frozen=True, slots=True)
class Budget:
    """How far a plan may move landmarks, network pixels.

    Attributes:
        mean_px: Over all points.
        worst_landmark_px: Mean of the worst landmark.
        p99_px, max_px: Over the points whose heatmap has one peak; None where not judged.
    """

    mean_px: float = 0.25
    worst_landmark_px: float = 1.0
    p99_px: float | None = None
    max_px: float | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """How far a plan moved landmarks, network pixels, against the floating-point network.

    Attributes:
        mean_px, worst_landmark_px: Over all points, as the accuracy gate counts.
        p99_px, max_px: Over the points whose heatmap has one peak.
        two_peaked: How many points have two (:mod:`mahtrt.benchmarks.displacement`).
        two_peaked_max_px: Their largest displacement.
        accuracy: Against annotations too, where the evaluation has them.
    """

    mean_px: float
    worst_landmark_px: float
    p99_px: float
    max_px: float
    two_peaked: int = 0
    two_peaked_max_px: float = 0.0
    accuracy: Accuracy | None = None

    def within(self, budget: Budget) -> bool:
        """Whether the budget holds; what is not finite never does."""
        return not self.over(budget)

    def over(self, budget: Budget) -> tuple[str, ...]:
        """What is over the budget, in words."""
        limits = (
            ("mean", self.mean_px, budget.mean_px),
            ("worst landmark", self.worst_landmark_px, budget.worst_landmark_px),
            ("p99", self.p99_px, budget.p99_px),
            ("largest", self.max_px, budget.max_px),
        )
        return tuple(
            f"{what} displacement {value:.3g} px over {limit:g}"
            for what, value, limit in limits
            if limit is not None and not value <= limit
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data; of the accuracy only how the error against annotations changed."""
        names = [name for name in self.__dataclass_fields__ if name != "accuracy"]
        table = {name: _plain(getattr(self, name)) for name in names}
        for name in ("delta_mre_px", "delta_mre_mm"):
            table[name] = None if self.accuracy is None else getattr(self.accuracy, name)
        return table


def cost_of(found: Found, reference: Found, accuracy: Accuracy | None = None) -> Cost:
    """The cost of what a plan's engine found.

    Args:
        found, reference: On the same images.
        accuracy: Of the same, to be kept with it.
    """
    moved = compare_points(found.points_px, reference.points_px)  # (N, K)
    peaked = two_peaked(reference.spread_px, found.spread_px)
    single, double = moved[~peaked], moved[peaked]
    return Cost(
        mean_px=float(moved.mean()),
        worst_landmark_px=float(moved.mean(axis=0).max()),
        p99_px=_or_zero(single, 99),
        max_px=_or_zero(single, 100),
        two_peaked=int(peaked.sum()),
        two_peaked_max_px=_or_zero(double, 100),
        accuracy=accuracy,
    )


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _or_zero(values: NDArray[np.float64], percent: int) -> float:
    return nearest_rank(values, percent) if values.size else 0.0
