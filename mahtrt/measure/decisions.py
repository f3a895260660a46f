"""Yes or no at a threshold: how often two networks say the same, and how well one ranks cases.

What is not finite decides nothing: it agrees with nobody, and ranks on the wrong side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Differences:
    """Two tables of numbers (N, M), value by value.

    Attributes:
        apart: (N, M) absolute differences, infinite where either is not finite.
        same: (N, M) whether both are finite and on the same side of the threshold.
    """

    apart: NDArray[np.float64]
    same: Flags

    @property
    def counts(self) -> dict[str, float]:
        """What records of decisions share."""
        decisions = self.same.size
        disagreements = decisions - int(self.same.sum())
        return {
            "non_finite": int(np.isinf(self.apart).sum()),
            "mean": float(self.apart.mean()),
            "max": float(self.apart.max()),
            "decisions": decisions,
            "disagreements": disagreements,
            "agreement": 1 - disagreements / decisions,
        }


def compare_decisions(candidate: Floats, reference: Floats, threshold: float) -> Differences:
    """Compare two tables of numbers that decide at a threshold, which itself is a yes.

    Args:
        candidate, reference: (N, M) with N and M of at least 1.

    Raises:
        ValueError: Shapes differ, or there is nothing in them.
    """
    ours, theirs = np.asarray(candidate, np.float64), np.asarray(reference, np.float64)
    if ours.shape != theirs.shape or ours.ndim != 2 or not ours.size:
        raise ValueError(f"values: got {ours.shape} and {theirs.shape}; expected (N, M) twice")
    finite = np.isfinite(ours) & np.isfinite(theirs)
    apart = np.abs(np.where(finite, ours, 0.0) - np.where(finite, theirs, 0.0))
    same = finite & ((ours >= threshold) == (theirs >= threshold))
    return Differences(np.where(finite, apart, np.inf), same)


def auroc(scores: Floats, truth: Floats) -> float | None:
    """Area under the ROC curve: how often a case with the label has the higher score.

    It is Mann and Whitney's rank statistic over the number of pairs; a tie counts half.

    Args:
        scores: (N,); one that is not finite loses every comparison.
        truth: (N,) 1 or 0, NaN where it is not known.

    Returns:
        None where there is no case with the label, or none without it.
    """
    known = np.isfinite(truth)
    present = np.asarray(truth)[known] > 0.5
    positives, negatives = int(present.sum()), int((~present).sum())
    if not positives or not negatives:
        return None
    values = np.asarray(scores, np.float64)[known]
    wrong = np.where(present, -np.inf, np.inf)
    ranks = _mid_ranks(np.where(np.isfinite(values), values, wrong))
    above = ranks[present].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def _mid_ranks(values: Floats) -> NDArray[np.float64]:
    """Ranks from 1, equal values with the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[places.reshape(-1)]
    return ranks
