"""How far points lie from other points. Pure numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def compare_points(
    candidate: Floats, reference: Floats, scale: Floats | float = 1.0
) -> NDArray[np.float64]:
    """Euclidean distance of corresponding points, in the unit of the points times the scale.

    Args:
        candidate, reference: (N, K, 2), in the same frame.
        scale: Lengths of a unit along x and y, (N, 1, 2). Differences are scaled, not points, so
            that 20 pixels of 0.1 mm are 2 mm wherever they lie.

    Returns:
        (N, K); infinite where either point is not finite, so that no average hides it.

    Raises:
        ValueError: Shapes differ, or are not (N, K, 2).
    """
    ours, theirs = np.asarray(candidate, np.float64), np.asarray(reference, np.float64)
    if ours.shape != theirs.shape or ours.ndim != 3 or ours.shape[2] != 2:
        raise ValueError(f"points: got {ours.shape} and {theirs.shape}; expected (N, K, 2) twice")
    finite = np.all(np.isfinite(ours) & np.isfinite(theirs), axis=2)  # (N, K)
    both = finite[:, :, np.newaxis]
    difference = (np.where(both, ours, 0.0) - np.where(both, theirs, 0.0)) * scale
    return np.where(finite, np.hypot(difference[..., 0], difference[..., 1]), np.inf)


def radial_error(
    points_px: Floats, truth_px: Floats, spacing_mm: Floats | None = None
) -> NDArray[np.float64]:
    """Distance to the annotation, in image pixels, or in mm when the spacing is given.

    Args:
        points_px, truth_px: (N, K, 2) x, y in image pixels; NaN in ``truth_px`` where there is
            no annotation.
        spacing_mm: (N, 2) as (row, column), NaN where unknown.

    Returns:
        (N, K): NaN where there is nothing to compare with, infinite where the point is broken.
    """
    truth = np.asarray(truth_px, np.float64)
    known = np.all(np.isfinite(truth), axis=2)  # (N, K)
    scale = np.ones((len(truth), 1, 2))
    if spacing_mm is not None:
        spacing = np.asarray(spacing_mm, np.float64)
        known &= np.all(np.isfinite(spacing), axis=1)[:, None]
        scale = np.nan_to_num(spacing)[:, None, ::-1]  # (row, column) -> (x, y)
    truth = np.where(known[:, :, None], truth, 0.0)
    distance = compare_points(points_px, truth, scale)
    return np.where(known, distance, np.nan)


def nearest_rank(values: Floats, percent: int) -> float:
    """The smallest value that at least ``percent`` of the values do not exceed.

    It is one of the values: interpolating between an infinite distance and another gives NaN.
    """
    ordered = np.sort(values, axis=None)
    return float(ordered[max(-(-percent * ordered.size // 100), 1) - 1])
