"""How far points lie from other points, and which of them sit on a map with two peaks.

Where a heatmap has two peaks, a landmark can jump from one to the other on any change, even on
rounding: that says something about the image, not about the engine. A point counts as
*two-peaked* where the spread that the network itself gives (the standard deviation of its heatmap)
is more than ``TWO_PEAKS`` times the median spread of that landmark over the images, in the
reference. A map that has two in the candidate alone was changed by the candidate: such *new two
peaks* are counted, and excuse nothing. Two equal peaks six widths apart have 3.2 times the spread
of one, as have peaks of 9 to 1 that are ten apart; a heatmap that is wide on every image is the
landmark's usual spread and flags nothing. (A network trained on photographs of faces has ratios up
to 2.7 on ordinary images, and from 4 to 17 on those where it is undecided.) Pure numpy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TWO_PEAKS = 3.0

Floats = NDArray[np.floating]


def compare_points(candidate: Floats, reference: Floats) -> NDArray[np.float64]:
    """Euclidean distance of corresponding points, in the unit of the points.

    Args:
        candidate, reference: (N, K, 2), in the same frame.

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
    difference = np.where(both, ours, 0.0) - np.where(both, theirs, 0.0)
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
    distance = compare_points(np.asarray(points_px, np.float64) * scale, truth * scale)
    return np.where(known, distance, np.nan)


def nearest_rank(values: Floats, percent: int) -> float:
    """The smallest value that at least ``percent`` of the values do not exceed.

    It is one of the values: interpolating between an infinite distance and another gives NaN.
    """
    ordered = np.sort(values, axis=None)
    return float(ordered[max(-(-percent * ordered.size // 100), 1) - 1])


def usual_spread(reference: Floats) -> NDArray[np.float64]:
    """The median spread of each landmark over the images.

    Args:
        reference: (N, K) spreads, not finite where unknown.

    Returns:
        (K,) in the same unit; NaN where it is unknown on every image.
    """
    spread = np.asarray(reference, np.float64)
    known = [column[np.isfinite(column)] for column in spread.T]
    return np.array([np.median(column) if column.size else np.nan for column in known])


def two_peaked(reference: Floats) -> NDArray[np.bool_]:
    """Which points' heatmaps have two peaks in the reference.

    Args:
        reference: (N, K) spreads, NaN where the network gives none.

    Returns:
        (N, K). A spread that is not finite says nothing, and so excuses nothing.
    """
    return has_two_peaks(reference, usual_spread(reference))


def new_two_peaks(reference: Floats, candidate: Floats) -> NDArray[np.bool_]:
    """Which points' heatmaps have two peaks in the candidate, and one in the reference.

    Args:
        reference, candidate: (N, K) spreads in one unit, NaN where the network gives none.

    Returns:
        (N, K), False where either is not finite.
    """
    wide = has_two_peaks(candidate, usual_spread(reference))
    return wide & ~two_peaked(reference) & np.isfinite(reference)


def has_two_peaks(spread: Floats, usual: Floats) -> NDArray[np.bool_]:
    """Which heatmaps are too wide for one peak.

    Args:
        spread: (…, K) spreads.
        usual: (K,) usual spreads of the landmarks, in the same unit (:func:`usual_spread`).

    Returns:
        (…, K), False where either is not finite.
    """
    known = np.where(np.isfinite(spread), spread, -np.inf).astype(np.float64)
    return np.asarray(known > TWO_PEAKS * np.asarray(usual, np.float64), bool)
