"""Gray from RGB, in whole numbers: ``(9798 R + 19235 G + 3735 B + 2^14) >> 15``.

OpenCV's ``COLOR_RGB2GRAY`` is this formula (4.10 to 5.0 on x86-64: every one of the 2^24 colours of
8 bits, and 10 million of 16 bits), and fast: 1.4 ms for 2400x1935 of 8 bits where NumPy takes 32.
A release or a build of OpenCV could have another, so it is tried once per process.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
from numpy.typing import DTypeLike, NDArray

GRAY_WEIGHTS = (9798, 19235, 3735)  # of R, G and B
_BITS = 15
_ROWS_AT_ONCE = 16


def gray_from_rgb(image: NDArray[np.generic]) -> NDArray[np.generic]:
    """(H, W) of (H, W, 3), uint8 or uint16."""
    if opencv_is_exact(image.dtype.name):
        gray: NDArray[np.generic] = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        return gray
    return gray_in_numpy(image)


def gray_in_numpy(image: NDArray[np.generic]) -> NDArray[np.generic]:
    """The definition; sums have 32 bits."""
    gray = np.empty(image.shape[:2], image.dtype)
    for start in range(0, len(image), _ROWS_AT_ONCE):
        rows = image[start : start + _ROWS_AT_ONCE].astype(np.uint32)
        rows *= np.array(GRAY_WEIGHTS, np.uint32)
        sums = rows[..., 0] + rows[..., 1] + rows[..., 2]
        sums += 1 << (_BITS - 1)
        gray[start : start + _ROWS_AT_ONCE] = sums >> _BITS
    return gray


@functools.cache
def opencv_is_exact(dtype: DTypeLike) -> bool:
    """Whether OpenCV converts as defined, judged by colours of which many lie next to a step."""
    most = np.iinfo(np.dtype(dtype)).max
    rng = np.random.default_rng(0)
    colours = rng.integers(0, most, (251, 257, 3), np.dtype(dtype), endpoint=True)
    red, green, blue = (colours[..., i].astype(np.int64) for i in range(3))
    rest = (9798 * red + 19235 * green + 2**14 + 3735 * blue) % 2**_BITS
    near = np.minimum(rest, 2**_BITS - 1 - rest).ravel().argsort()[:4099]
    steps = colours.reshape(-1, 3)[near][None]
    return all(
        np.array_equal(cv2.cvtColor(each, cv2.COLOR_RGB2GRAY), gray_in_numpy(each))
        for each in (colours, steps)
    )
