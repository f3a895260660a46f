"""Which landmarks sit on a heatmap far wider than usual, and how far such a landmark can jump.

Where a heatmap has two peaks, a landmark can jump from one to the other on any change, even on
rounding: that says something about the image, not about the engine. Only the spread is known, so
what is found are *wide* heatmaps: those whose spread is more than ``WIDE`` times the usual one,
which is the median over the images, in the reference. Most of them have two peaks; noise without a
clear peak is as wide. A usual spread below half a cell of the heatmaps' grid counts as half a
cell, for below that it says where in its cell a peak sits.

Two peaks with the weights p and 1 - p, each of the usual spread s, at the distance d, have the
spread sqrt(s^2 + p (1 - p) d^2). Spreads are of both axes together, so that one round peak of
standard deviation w along each axis has s = w sqrt(2): two equal peaks six w apart have 2.35 times
the spread of one (along their own axis it would be 3.2), and three times where they are eight w
apart. Solved for d, a spread tells how far the peaks can be apart. Weights of 9 to 1 are the most
uneven that are reckoned with, since the lighter peak has to win by a small change: the *reach* of a
heatmap is sqrt((spread^2 - s^2) / 0.09), some 3.3 times its spread.

A landmark is *excused* where the reference's heatmap is wide and the landmark moved no further
than that heatmap's reach. A heatmap that is wide in the candidate alone was changed by the
candidate: it is counted, and excuses nothing. Pure numpy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WIDE = 3.0
_LEAST_USUAL_CELLS = 0.5
_UNEVEN = 0.9 * 0.1  # p (1 - p) of two peaks of 9 to 1

Floats = NDArray[np.floating]
Flags = NDArray[np.bool_]


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


def is_wide(spread: Floats, usual: Floats, cell_px: float) -> Flags:
    """Which heatmaps are far wider than usual.

    Args:
        spread: (…, K) spreads in network pixels.
        usual: (K,) usual spreads of the landmarks (:func:`usual_spread`).
        cell_px: Side of a cell of the heatmaps (:attr:`mahtrt.spec.ModelSpec.heatmap_cell_px`).

    Returns:
        (…, K), False where either spread is not finite.
    """
    known = np.where(np.isfinite(spread), spread, -np.inf).astype(np.float64)
    return np.asarray(known > WIDE * _floored(usual, cell_px), bool)


def reach_px(spread: Floats, usual: Floats, cell_px: float) -> NDArray[np.float64]:
    """How far a landmark can jump on its own heatmap, 0 where the heatmap is not wide.

    Args:
        spread, usual, cell_px: As for :func:`is_wide`.

    Returns:
        (…, K) network pixels.
    """
    known = np.where(is_wide(spread, usual, cell_px), spread, 0.0).astype(np.float64)
    more = np.nan_to_num(known**2 - _floored(usual, cell_px) ** 2)
    return np.sqrt(np.maximum(more, 0.0) / _UNEVEN)


@dataclass(frozen=True, slots=True, eq=False)
class Widths:
    """The heatmaps of a candidate and of a reference.

    Attributes:
        reference_px, candidate_px: (N, K) spreads in network pixels.
        usual_px: (K,) usual spreads, in the reference.
        wide: (N, K) whether the reference's heatmap is wide.
        new: (N, K) whether only the candidate's is.
        reach_px: (N, K) how far the landmark can jump on the reference's heatmap.
        excused: (N, K) whether it is wide and the landmark moved no further.
    """

    reference_px: Floats
    candidate_px: Floats
    usual_px: Floats
    wide: Flags
    new: Flags
    reach_px: Floats
    excused: Flags


def compare_widths(
    moved_px: Floats, reference_px: Floats, candidate_px: Floats, cell_px: float
) -> Widths:
    """Which heatmaps are wide, and in whom.

    Args:
        moved_px: (N, K) displacements; a point that is not finite is never wide.
        reference_px, candidate_px: (N, K) spreads in network pixels, NaN where unknown.
        cell_px: As for :func:`is_wide`.
    """
    usual, finite = usual_spread(reference_px), np.isfinite(moved_px)
    wide = is_wide(reference_px, usual, cell_px)
    new = is_wide(candidate_px, usual, cell_px) & ~wide & np.isfinite(reference_px)
    reach = reach_px(reference_px, usual, cell_px)
    return Widths(
        reference_px=reference_px,
        candidate_px=candidate_px,
        usual_px=usual,
        wide=wide & finite,
        new=new & finite,
        reach_px=reach,
        excused=wide & (np.asarray(moved_px) <= reach),
    )


def _floored(usual: Floats, cell_px: float) -> NDArray[np.float64]:
    # maximum keeps NaN: a landmark whose usual spread is unknown is never wide.
    return np.maximum(np.asarray(usual, np.float64), _LEAST_USUAL_CELLS * cell_px)
