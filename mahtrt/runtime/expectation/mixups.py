"""Landmarks or images in another order than the file's rows and columns say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mahtrt.errors import some_of
from mahtrt.measure.displacement import compare_points
from mahtrt.runtime.expectation.records import Explanation

Floats = NDArray[np.float64]
MOST_IMAGES = 2000  # of which all pairs are compared
MIXUPS = 2  # kinds of them
_TENTH = 0.1


def landmark_order(found_px: Floats, expected_px: Floats) -> NDArray[np.intp] | None:
    """Which of the file's landmarks is which of the network's, (K,); None without another order.

    Args:
        found_px, expected_px: (N, K, 2) in image pixels.
    """
    distance = np.linalg.norm(found_px[:, :, None] - expected_px[:, None], axis=-1).mean(axis=0)
    return _other_order(distance)


def image_order(found_px: Floats, expected_px: Floats) -> NDArray[np.intp] | None:
    """Which of the file's rows is of which image, (N,); None without another order."""
    if not 2 <= len(found_px) <= MOST_IMAGES:
        return None
    distance = np.array(
        [np.linalg.norm(each - expected_px, axis=-1).mean(axis=1) for each in found_px]
    )
    return _other_order(distance)


def _other_order(distance: Floats) -> NDArray[np.intp] | None:
    """The nearest column of each row, where that is another order of all columns."""
    order = np.asarray(distance.argmin(axis=1), np.intp)
    count = len(order)
    if len(np.unique(order)) != count or np.array_equal(order, np.arange(count)):
        return None
    return order


def mixed_up(
    found_px: Floats,
    expected_px: Floats,
    names: tuple[Sequence[str], Sequence[str]],
    limit_px: float,
) -> Explanation | None:
    """Another order of landmarks or of images, where that explains the difference.

    Args:
        found_px, expected_px: (N, K, 2) in image pixels.
        names: Those of the N images and of the K landmarks.
        limit_px: The limit on the judged displacement.

    Returns:
        None where neither brings it within the limit or to a tenth.
    """
    images, landmarks = names
    before = _judged(found_px, expected_px)[0]
    for name, words, advice, called, order in (
        (
            *("landmark_order", "The file has its landmarks in another order"),
            "Write them in the order of the network's landmarks, or name the columns after them.",
            *(landmarks, landmark_order(found_px, expected_px)),
        ),
        (
            *("image_order", "The file has the points of other images"),
            "Write each image's points to its own row.",
            *(images, image_order(found_px, expected_px)),
        ),
    ):
        if order is None:
            continue
        ordered = expected_px[:, order] if called is landmarks else expected_px[order]
        judged, mean = _judged(found_px, ordered)
        if judged <= max(limit_px, _TENTH * before):
            told = f"{words}: {_pairs_in_words(order, called)}."
            return Explanation(name, told, advice, judged, mean)
    return None


def _judged(found_px: Floats, expected_px: Floats) -> tuple[float, float]:
    moved = compare_points(found_px, expected_px)
    return float(moved.mean(axis=0).max()), float(moved.mean())


def _pairs_in_words(order: NDArray[np.intp], names: Sequence[str]) -> str:
    """``nasion under sella, sella under nasion``: what stands elsewhere."""
    moved = [f"{names[k]} under {names[at]}" for k, at in enumerate(order.tolist()) if k != at]
    return some_of(moved)
