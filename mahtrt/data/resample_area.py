"""Shrinking by area where many pixels make a new one: exact means from a summed-area table.

In a table of sums over all pixels above and left, the sum over a rectangle needs four entries,
however large it is. Between its entries the table is linear: with sides in 1 / n of a pixel, as
``docs/preprocessing.md`` measures them, the sum over a new pixel's rectangle is a whole number,
and so is everything on the way to it. It is computed in float64, which holds these numbers
(:func:`table_is_faster` sees to it), and divided once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# Image pixels per new pixel from which the table is faster than sums along each axis.
_FASTER_FROM = 8.0
# Entries of the table that are held at a time: small enough for the cache, and for 32-bit sums.
_TABLE_ENTRIES = {"uint8": 2**20, "uint16": 2**18}


def table_is_faster(image: NDArray[np.generic], height: int, width: int) -> bool:
    """Whether :func:`shrink_from_table` can shrink the image, and is the fastest way.

    Args:
        image: (H, W) or (H, W, 3), uint8 or uint16.
        height, width: In pixels.
    """
    rows, columns = image.shape[:2]
    if height > rows or width > columns or rows * columns < _FASTER_FROM * height * width:
        return False
    row_entries = (columns + 1) * (image.size // (rows * columns))
    return bool((rows // height + 3) * row_entries <= _most_entries(image, height, width))


def _most_entries(image: NDArray[np.generic], height: int, width: int) -> int:
    """Entries of a table whose sums, times (height * width), are whole numbers in float64."""
    largest = int(np.iinfo(image.dtype.name).max) * height * width
    return min(_TABLE_ENTRIES[image.dtype.name], 2**53 // largest)


def shrink_from_table(image: NDArray[np.generic], height: int, width: int) -> NDArray[np.generic]:
    """An image shrunk by area, where :func:`table_is_faster`.

    Returns:
        (height, width) or (height, width, 3) of the image's dtype.
    """
    channels = image.shape[2] if image.ndim == 3 else 1
    top, down = _edges(image.shape[0], height)
    left, across = _edges(image.shape[1], width)
    # Channels lie side by side in a row: a column's neighbour is ``channels`` entries on.
    entries = (left[:, None] * channels + np.arange(channels)).ravel()
    across = np.repeat(across, channels)
    row_entries = (image.shape[1] + 1) * channels
    one = float(image.shape[0] * image.shape[1])
    result = np.empty((height, width * channels), image.dtype)
    most = _most_entries(image, height, width)
    for start, stop, table in _tables(image, top, most // row_entries):
        places = ((top[start : stop + 1] - top[start]) * row_entries)[:, None] + entries
        above = _between(table, places, channels, across, width)
        below = _between(table[row_entries:], places, channels, across, width)
        below -= above
        below *= down[start : stop + 1, None]
        above *= height
        below += above  # the table at the corners of the new pixels, (rows + 1, columns + channels)
        bands = below[1:] - below[:-1]
        means = bands[:, channels:] - bands[:, :-channels]
        means /= one
        result[start:stop] = np.rint(means, out=means)
    return result.reshape(height, width, *image.shape[2:])


def _edges(length: int, count: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Where ``count`` equal parts of an axis meet: whole pixels, and the rest in 1 / ``count``."""
    edges = np.arange(count + 1) * length
    whole = np.minimum(edges // count, length - 1)
    return whole, (edges - whole * count).astype(np.float64)


def _tables(
    image: NDArray[np.generic], top: NDArray[np.intp], tallest: int
) -> Iterator[tuple[int, int, NDArray[Any]]]:
    """Ranges of new rows, each with the flat summed-area table of the image rows it needs.

    The table's memory is used again for the next range.
    """
    height = len(top) - 1
    dtype = np.int32 if image.dtype == np.uint8 else np.float64
    depth = cv2.CV_32S if image.dtype == np.uint8 else cv2.CV_64F
    table = np.empty((tallest, image.shape[1] + 1, *image.shape[2:]), dtype)
    start = 0
    while start < height:
        # A range from row a to the edge in row b reads rows a to b: b - a + 2 rows of table.
        stop = int(np.searchsorted(top, top[start] + tallest - 2, side="right")) - 1
        rows = image[top[start] : top[stop] + 1]
        yield start, stop, cv2.integral(rows, table[: len(rows) + 1], depth).reshape(-1)
        start = stop


def _between(
    table: NDArray[Any],
    places: NDArray[np.intp],
    channels: int,
    across: NDArray[np.float64],
    width: int,
) -> NDArray[np.float64]:
    """``width`` times the table between entries of a row: ``across`` of the way to the next."""
    # "clip" only saves numpy its check: every place is inside.
    here = table.take(places, mode="clip")
    step = table[channels:].take(places, mode="clip")
    step -= here
    value = step * across
    value += here * float(width)
    return value
