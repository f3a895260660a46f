"""Resampling of an image, exactly as ``docs/preprocessing.md`` defines it.

A new sample is a weighted sum of the image's samples, in whole numbers, rounded once (the
antialiased interpolations: once per axis). Whole numbers are computed here in the fastest type
that holds all of them: float32 below 2^24, float64 below 2^53, else int64. Sums that stay within
their type are exact in any order, so neither NumPy's nor BLAS's order of summation matters.

A sum runs along the first axis of an array, whose rows are contiguous, and the array is turned
between the axes. With few weights per new pixel, each weight takes a row of the image at once; with
many, a block of new pixels is a product of matrices.

2400x1935 to 512x413 on one core, best of 15 in ms of CPU time (Pillow 13.0 takes 8.0 and 14.1 for
the last two of gray 8-bit, 18.9 and 33.3 of RGB):

    ===========  =====  ======  =====  =======  ==================  =================
    image        area   linear  cubic  nearest  antialiased_linear  antialiased_cubic
    ===========  =====  ======  =====  =======  ==================  =================
    gray 8-bit   3.5    2.5     12.7   0.3      13.5                13.0
    RGB 8-bit    12.4   9.3     30.4   1.0      36.3                36.2
    gray 16-bit  8.3    4.6     10.4   0.4      12.4                13.9
    RGB 16-bit   31.8   12.2    34.0   1.2      42.8                42.2
    ===========  =====  ======  =====  =======  ==================  =================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mahtrt.data.resample_area import shrink_from_table, table_is_faster
from mahtrt.data.resample_weights import FRACTION_BITS, AxisWeights, weights_of
from mahtrt.data.resample_whole import factors_are_whole, shrink_by_whole_factors
from mahtrt.spec import Interpolation

Levels = NDArray[np.generic]
Numbers = NDArray[Any]  # whole ones, in whatever type holds them

_MOST_TAPS = 6  # per new pixel, with which rows are taken one by one
_NEW_PER_BLOCK = 16
# Products of fewer multiplications than this stay on the thread that calls OpenBLAS.
_MULTIPLICATIONS = 2**18
_SKIPPED_FROM = 1.5  # pixels of an axis per one that is used, from which the others are dropped
_SAMPLES_AT_ONCE = 2**15  # of a sum: few enough for the cache
_EXACT_QUOTIENT = 2**36  # divisors below it: see _rounded_to_even


def resample(image: Levels, height: int, width: int, interpolation: Interpolation) -> Levels:
    """An image at another size.

    Args:
        image: (H, W) or (H, W, 3), uint8 or uint16, in this machine's byte order.
        height, width: In pixels.

    Returns:
        (height, width) or (height, width, 3) of the same dtype; the image itself where it has the
        size already.
    """
    if image.shape[:2] == (height, width):
        return image
    if interpolation == "area" and factors_are_whole(image, height, width):
        return shrink_by_whole_factors(image, height, width)
    if interpolation == "area" and table_is_faster(image, height, width):
        return shrink_from_table(image, height, width)
    down, across = (
        weights_of(interpolation, *lengths)
        for lengths in zip(image.shape[:2], (height, width), strict=True)
    )
    if interpolation in ("nearest", "nearest_floor"):
        return image.take(down.pixels[:, 0], 0).take(across.pixels[:, 0], 1)
    if interpolation in ("antialiased_linear", "antialiased_cubic"):
        return _pass_by_pass(image, down, across)
    return _at_once(image, down, across, _kept if interpolation == "cubic" else _rounded_to_even)


def _at_once(
    image: Levels,
    down: AxisWeights,
    across: AxisWeights,
    rounded: Callable[[Numbers, int, int], Numbers],
) -> Levels:
    """Both axes, rounded at the end: the axis first after which the fewer numbers are left."""
    most, one = int(np.iinfo(image.dtype.name).max), down.total * across.total
    image, down = _used_alone(image, down, 0)
    image, across = _used_alone(image, across, 1)
    turn = image.shape[1] * len(down.pixels) > image.shape[0] * len(across.pixels)
    first, second = (across, down) if turn else (down, across)
    levels = _turned(image) if turn else image
    largest = most * _magnitude(first)
    sums = _sums(levels, first, _type_for(largest))
    largest = largest * _magnitude(second) + one
    narrow = largest < 2**53 and (rounded is _kept or one < _EXACT_QUOTIENT)
    sums = _sums(_turned(sums), second, np.dtype(np.float64 if narrow else np.int64))
    found = rounded(sums, one, most).astype(image.dtype)
    return found if turn else _turned(found)


def _used_alone(image: Levels, weights: AxisWeights, along: int) -> tuple[Levels, AxisWeights]:
    """An image without the rows or columns that nothing is made of, where these are many."""
    if image.shape[along] < _SKIPPED_FROM * weights.pixels.size:
        return image, weights
    used, pixels = np.unique(weights.pixels, return_inverse=True)
    pixels = pixels.reshape(weights.pixels.shape)
    return image.take(used, along), AxisWeights(pixels, weights.weights, weights.total)


def _pass_by_pass(image: Levels, down: AxisWeights, across: AxisWeights) -> Levels:
    """Columns first, then rows; each pass is rounded to levels, and left out where it may be."""
    most = int(np.iinfo(image.dtype.name).max)
    for weights in (across, down):
        image = _turned(image)
        if weights.total != 1:
            sums = _sums(image, weights, np.dtype(np.float64))
            image = _kept(sums, 1 << FRACTION_BITS, most).astype(image.dtype)
    return image


def _magnitude(weights: AxisWeights) -> int:
    """By how much a sum along the axis can be larger than the largest of its terms."""
    return int(np.abs(weights.weights).sum(1).max())


def _type_for(largest: int) -> np.dtype[Any]:
    return np.dtype(np.float32 if largest < 2**24 else np.float64)


def _turned(levels: Numbers) -> Numbers:
    """Rows for columns; pixels of three samples stay together."""
    turned: Numbers = cv2.transpose(levels) if levels.dtype != np.int64 else levels.swapaxes(0, 1)
    return turned


def _sums(levels: Numbers, axis: AxisWeights, dtype: np.dtype[Any]) -> Numbers:
    """Weighted sums along the first axis, all of which the type holds."""
    if axis.total == 1:
        return levels.astype(dtype, copy=False)
    flat = np.ascontiguousarray(levels).reshape(len(levels), -1)
    count = len(axis.pixels)
    sums = np.empty((count, flat.shape[1]), dtype)
    if axis.pixels.shape[1] <= _MOST_TAPS or dtype == np.int64:
        _add_rows(flat, axis, sums)
    else:
        _multiply_blocks(flat, axis, sums)
    return sums.reshape(count, *levels.shape[1:])


def _add_rows(levels: Numbers, axis: AxisWeights, sums: Numbers) -> None:
    at_once = max(1, _SAMPLES_AT_ONCE // levels.shape[1])
    weights = axis.weights.astype(sums.dtype)
    for start in range(0, len(sums), at_once):
        part = slice(start, start + at_once)
        for tap in range(weights.shape[1]):
            rows = levels.take(axis.pixels[part, tap], 0)
            weight = weights[part, tap, None]
            if tap == 0:
                np.multiply(rows, weight, out=sums[part], casting="unsafe")
            else:
                sums[part] += np.multiply(rows, weight, dtype=sums.dtype, casting="unsafe")


def _multiply_blocks(levels: Numbers, axis: AxisWeights, sums: Numbers) -> None:
    for start in range(0, len(sums), _NEW_PER_BLOCK):
        pixels = axis.pixels[start : start + _NEW_PER_BLOCK]
        low, high = int(pixels.min()), int(pixels.max()) + 1
        matrix = np.zeros((len(pixels), high - low), sums.dtype)
        # Beyond a new pixel's own, pixels repeat with weight 0.
        np.add.at(
            matrix,
            (np.arange(len(pixels))[:, None], pixels - low),
            axis.weights[start:][: len(pixels)],
        )
        wide = max(16, _MULTIPLICATIONS // matrix.size)
        for left in range(0, levels.shape[1], wide):
            block = levels[low:high, left : left + wide].astype(sums.dtype)
            np.matmul(matrix, block, out=sums[start : start + len(pixels), left : left + wide])


def _rounded_to_even(sums: Numbers, one: int, most: int) -> Numbers:
    """Quotients rounded to the nearest whole number, a half to the even one.

    A quotient that is no half is at least ``1 / (2 one)`` away from one, further than a double
    below 2^16 is wrong: so the double's rounding is the exact quotient's.
    """
    if sums.dtype != np.int64:
        sums /= one
        return np.rint(sums, out=sums)
    quotient, rest = np.divmod(2 * sums + one, 2 * one)
    quotient -= (rest == 0) & (quotient & 1)
    return quotient


def _kept(sums: Numbers, one: int, most: int) -> Numbers:
    """Quotients rounded to the nearest whole number, a half up, and kept within the range."""
    sums += one // 2
    if sums.dtype == np.int64:
        sums >>= one.bit_length() - 1
    else:
        sums *= 1.0 / one  # a power of two
        np.floor(sums, out=sums)
    return np.clip(sums, 0, most, out=sums)
