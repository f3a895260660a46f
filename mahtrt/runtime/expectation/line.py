"""A straight line per axis between mahtrt's points and the expected ones: a clue."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mahtrt.runtime.expectation.pipeline import View

Floats = NDArray[np.float64]
_FEWEST = 4  # points, below which a line fits anything
_MEANT = 0.2  # of the difference may be left
_SCATTER = 0.05  # of the scatter of the expected points likewise: a line fits points in one place


def clue(found_px: Floats, expected_px: Floats, views: Sequence[View]) -> str:
    """What a line per axis says, where it takes away four fifths of the difference.

    Both frames are tried: an error made in the network's pixels is a straight line there for all
    images, and in the image's pixels only for images of one size.

    Args:
        found_px, expected_px: (N, K, 2) in image pixels.
        views: Of each image.

    Returns:
        A sentence; "" where no line fits.
    """
    pairs = list(zip(found_px, expected_px, views, strict=True))
    frames = {
        "the network's input": [
            (view.placement.network_from_image(a), view.placement.network_from_image(b))
            for a, b, view in pairs
        ],
        "the image": [(a, b) for a, b, _ in pairs],
    }
    best, told = _MEANT, ""
    for frame, both in frames.items():
        ours, theirs = (np.concatenate(each).astype(np.float64) for each in zip(*both, strict=True))
        lines, left = _fit(ours, theirs)
        if left < best:
            best, told = left, f"In the pixels of {frame}, {_in_words(lines)}."
    return told


def _fit(ours: Floats, theirs: Floats) -> tuple[list[tuple[float, float]], float]:
    """Slope and shift of x and of y, and the share of the difference that they leave."""
    before = float(np.abs(theirs - ours).mean())
    if len(ours) < _FEWEST or not np.isfinite(before) or not before:
        return [], 1.0
    lines: list[tuple[float, float]] = []
    left: list[float] = []
    for axis in (0, 1):
        centre = ours[:, axis].mean()  # else slope and shift depend on each other
        columns = np.stack([ours[:, axis] - centre, np.ones(len(ours))], 1)
        (slope, middle), *_ = np.linalg.lstsq(columns, theirs[:, axis], rcond=None)
        lines.append((float(slope), float(middle - slope * centre)))
        rest = np.abs(columns @ (slope, middle) - theirs[:, axis])
        if rest.mean() > _SCATTER * np.abs(theirs[:, axis] - theirs[:, axis].mean()).mean():
            return [], 1.0
        left.append(float(rest.mean()))
    return lines, float(np.mean(left)) / before


def _in_words(lines: Sequence[tuple[float, float]]) -> str:
    return " and ".join(
        f"expected {axis} is {slope:.4f} {axis} {'+' if shift >= 0 else '-'} {abs(shift):.2f}"
        for axis, (slope, shift) in zip("xy", lines, strict=True)
    )
