"""How far probabilities of being visible lie from others, and how often both say the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.bundle.output_records import VisibilityRecord
from mahtrt.measure.decisions import compare_decisions

Floats = NDArray[np.floating]


def measure_visibility(
    name: str,
    threshold: float,
    candidate: Floats,
    reference: Floats,
    truth: Floats | None = None,
) -> VisibilityRecord:
    """Compare the visibility of K landmarks on N images.

    Args:
        name: Name of the output.
        threshold: Probability from which a landmark counts as visible.
        candidate, reference: (N, K) probabilities.
        truth: (N, K) 1 for visible, 0 for not, NaN where that is not known.

    Raises:
        ValueError: Shapes do not fit each other.
    """
    counts: dict[str, Any] = compare_decisions(candidate, reference, threshold).counts
    record = {"name": name, **counts}
    known = np.zeros(np.shape(candidate), bool) if truth is None else np.isfinite(truth)
    if known.shape != np.shape(candidate):
        raise ValueError(f"visible: got {known.shape}; expected {np.shape(candidate)}")
    if truth is None or not known.any():
        return VisibilityRecord(**record)
    ours, theirs = (_accuracy(each, truth, known, threshold) for each in (candidate, reference))
    return VisibilityRecord(
        **record,
        annotated=int(known.sum()),
        accuracy=ours,
        reference_accuracy=theirs,
        delta_accuracy=ours - theirs,
    )


def _accuracy(found: Floats, truth: Floats, known: NDArray[np.bool_], threshold: float) -> float:
    """Share of the annotated landmarks that are on the annotated side."""
    right = np.isfinite(found) & ((found >= threshold) == (np.asarray(truth) > 0.5))
    return float(right[known].mean())
