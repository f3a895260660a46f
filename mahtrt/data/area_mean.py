"""Shrinking by area as versions 1 and 2 of the preprocessing do it, with rounding on the way.

Each new pixel is the mean of the rectangle of image that it covers. Version 3 computes the same
means exactly (:mod:`mahtrt.data.resample_area`).

OpenCV's ``INTER_AREA`` computes exactly that, but visits every pixel of the image with scalar code
unless both factors are integers. A summed-area table needs vector code for the image and four
look-ups per *new* pixel, so it wins where there are far fewer of those. The table is linear between
its entries, hence exact at fractions of a pixel: both ways give the same grey levels, except where
a mean lies within rounding of a half, by one level. That is so of 0 to 2 in 100,000 pixels, and of
60 to 70 where the factors are as simple as 6 and 6.45 (1935x2400 to 300x400): 1 mean of 750 is a
half there.

2400x1935 uint8 on one core of a 2.45 GHz Zen 3 CPU, p50 in ms, OpenCV 5.0:

    =======  ==========  ============  ==========
    image    to          INTER_AREA    this
    =======  ==========  ============  ==========
    gray     512x413     9.3           4.0
    gray     256x206     10.8          2.5
    RGB      512x413     18.1          11.6
    RGB      256x206     16.5          6.9
    =======  ==========  ============  ==========

Tried and left: Pillow's BOX (takes whole pixels only: up to 12 levels off), one axis after the
other in OpenCV (6.3 ms for the first row), a float64 table (4.3), float32 sums (as fast, and more
pixels differ).
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

# Image pixels per new pixel from which the table is faster: it breaks even at 6 to 7.
_FASTER_FROM = 8.0
# Entries of the table that are held at a time: small enough for the cache, and for 32-bit sums.
_TABLE_ENTRIES = 2**20


def shrink_by_area(image: NDArray[np.generic], height: int, width: int) -> NDArray[np.generic]:
    """Shrink an image, or leave an axis as long as it is.

    Args:
        image: (H, W) or (H, W, 3), uint8 or uint16.
        height, width: In pixels, at most the image's.

    Returns:
        (height, width) or (height, width, 3) of the same dtype.
    """
    rows, columns = image.shape[:2]
    whole = rows % height == 0 and columns % width == 0  # OpenCV is fast there
    few = rows * columns >= _FASTER_FROM * height * width
    one_row = (rows // height + 3) * (columns + 1) * (image.size // (rows * columns))
    if image.dtype != np.uint8 or whole or not few or one_row > _TABLE_ENTRIES:
        shrunk: NDArray[np.generic] = cv2.resize(
            image, (width, height), interpolation=cv2.INTER_AREA
        )
        return shrunk
    return _shrink(image, height, width)


def _shrink(image: NDArray[np.generic], height: int, width: int) -> NDArray[np.uint8]:
    channels = image.shape[2] if image.ndim == 3 else 1
    top, down = _edges(image.shape[0], height)
    left, across = _edges(image.shape[1], width)
    # Channels lie side by side in a row: a column's neighbour is ``channels`` entries on.
    entries = (left[:, None] * channels + np.arange(channels)).ravel()
    across = np.repeat(across, channels)
    row_entries = (image.shape[1] + 1) * channels
    mean = height * width / (image.shape[0] * image.shape[1])
    result = np.empty((height, width * channels), np.uint8)
    for start, stop, table in _tables(image, top, row_entries):
        places = ((top[start : stop + 1] - top[start]) * row_entries)[:, None] + entries
        above = _between(table, places, channels, across)
        below = _between(table[row_entries:], places, channels, across)
        below -= above
        below *= down[start : stop + 1, None]
        below += above  # the table at the corners of the new pixels, (rows + 1, columns + channels)
        bands = below[1:] - below[:-1]
        means = bands[:, channels:] - bands[:, :-channels]
        means *= mean
        result[start:stop] = np.rint(means, out=means)
    return result.reshape(height, width, *image.shape[2:])


def _edges(length: int, count: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Where ``count`` equal parts of an axis meet: whole pixels, and the rest in [0, 1]."""
    edges = np.arange(count + 1) * length / count
    whole = np.minimum(edges.astype(np.intp), length - 1)
    return whole, edges - whole


def _tables(
    image: NDArray[np.generic], top: NDArray[np.intp], row_entries: int
) -> Iterator[tuple[int, int, NDArray[np.int32]]]:
    """Ranges of new rows, each with the flat summed-area table of the image rows it needs.

    The table's memory is used again for the next range.
    """
    height = len(top) - 1
    tallest = _TABLE_ENTRIES // row_entries
    table = np.empty((tallest, image.shape[1] + 1, *image.shape[2:]), np.int32)
    start = 0
    while start < height:
        # A range from row a to the edge in row b reads rows a to b: b - a + 2 rows of table.
        stop = int(np.searchsorted(top, top[start] + tallest - 2, side="right")) - 1
        rows = image[top[start] : top[stop] + 1]
        yield start, stop, cv2.integral(rows, table[: len(rows) + 1]).reshape(-1)
        start = stop


def _between(
    table: NDArray[np.int32],
    places: NDArray[np.intp],
    channels: int,
    across: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The table between entries of a row: at each place, ``across`` of the way to the next."""
    # "clip" only saves numpy its check: every place is inside.
    here = table.take(places, mode="clip")
    step = table[channels:].take(places, mode="clip")
    step -= here
    value = step * across
    value += here
    return value
