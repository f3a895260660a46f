"""Weights of resampling along one axis: which pixels a new one is made of, in whole numbers.

``docs/preprocessing.md`` defines them. N is the length of an axis in the image, n the new one.
Whatever is computed in floating point here (the weights of ``cubic`` and of the antialiased
filters) is so in IEEE doubles, every operation rounded by itself and in the order of that page.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mahtrt.spec import Interpolation

Integers = NDArray[np.int64]
Doubles = NDArray[np.float64]

FRACTION_BITS = 22  # of the weights that floating point gives
_ONE = 1 << FRACTION_BITS


@dataclass(frozen=True, slots=True)
class AxisWeights:
    """How the new pixels of an axis are made.

    Attributes:
        pixels: (n, taps) pixels of the image; where a new one has fewer, others have no weight.
        weights: (n, taps).
        total: What the weights of a new pixel add up to. The antialiased filters' are rounded one
            by one, so that theirs add up to about that.
    """

    pixels: Integers
    weights: Integers
    total: int


def weights_of(interpolation: Interpolation, length: int, count: int) -> AxisWeights:
    """The weights of an axis of ``length`` pixels that gets ``count``.

    An axis that keeps its length is left as it is: each pixel has weight 1.
    """
    if length == count:
        return AxisWeights(np.arange(count)[:, None], np.ones((count, 1), np.int64), 1)
    if interpolation == "area":
        return _area(length, count) if count < length else _linear(length, count)
    return _WEIGHTS[interpolation](length, count)


def _area(length: int, count: int) -> AxisWeights:
    """New pixel i covers ``i * N`` to ``(i + 1) * N``, pixel j ``j * n`` to ``(j + 1) * n``."""
    begin = np.arange(count)[:, None] * length
    end = begin + length
    first, last = begin // count, (end - 1) // count
    pixels = first + np.arange(int((last - first).max()) + 1)
    overlap = np.minimum((pixels + 1) * count, end) - np.maximum(pixels * count, begin)
    return AxisWeights(np.minimum(pixels, length - 1), np.maximum(overlap, 0), length)


def _between(length: int, count: int) -> tuple[Integers, Integers]:
    """The pixel before each new centre, -1 before the first, and how far: in 1 / (2 n)."""
    return np.divmod((2 * np.arange(count) + 1) * length - count, 2 * count)


def _linear(length: int, count: int) -> AxisWeights:
    before, part = _between(length, count)
    pixels = np.clip(before[:, None] + np.arange(2), 0, length - 1)
    return AxisWeights(pixels, np.stack([2 * count - part, part], 1), 2 * count)


def _cubic(length: int, count: int) -> AxisWeights:
    """Keys' kernel with a = -0.75; the fourth weight is what the others leave of one."""
    before, part = _between(length, count)
    a, u = -0.75, part.astype(np.float64) / (2.0 * count)
    v = 1 - u
    kernel = np.stack(
        [
            ((a * (u + 1) - 5 * a) * (u + 1) + 8 * a) * (u + 1) - 4 * a,
            ((a + 2) * u - (a + 3)) * u * u + 1,
            ((a + 2) * v - (a + 3)) * v * v + 1,
        ],
        1,
    )
    three = np.floor(kernel * _ONE + 0.5).astype(np.int64)
    weights = np.concatenate([three, _ONE - three.sum(1, keepdims=True)], 1)
    return AxisWeights(np.clip(before[:, None] + np.arange(-1, 3), 0, length - 1), weights, _ONE)


def _nearest(length: int, count: int) -> AxisWeights:
    return _one_pixel((2 * np.arange(count) + 1) * length // (2 * count))


def _nearest_floor(length: int, count: int) -> AxisWeights:
    return _one_pixel(np.arange(count) * length // count)


def _one_pixel(pixels: Integers) -> AxisWeights:
    return AxisWeights(pixels[:, None], np.ones((len(pixels), 1), np.int64), 1)


def _antialiased(
    length: int, count: int, radius: float, kernel: Callable[[Doubles], Doubles]
) -> AxisWeights:
    """A kernel as wide as a new pixel where the axis shrinks, cut off at the image's border."""
    scale = length / count
    widened = max(scale, 1.0)
    support, inverse = radius * widened, 1.0 / widened
    centre = (np.arange(count) + 0.5) * scale
    # Casts cut off what is behind the point, towards zero.
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    end = np.minimum((centre + support + 0.5).astype(np.int64), length)
    pixels = first[:, None] + np.arange(int((end - first).max()))
    values = kernel((pixels - centre[:, None] + 0.5) * inverse)
    values[pixels >= end[:, None]] = 0.0
    total = np.add.accumulate(values, axis=1)[:, -1:]  # in the pixels' order, unlike sum()
    scaled = values / total * _ONE
    weights = np.where(scaled >= 0, scaled + 0.5, scaled - 0.5).astype(np.int64)
    return AxisWeights(np.minimum(pixels, length - 1), weights, _ONE)


def _triangle(x: Doubles) -> Doubles:
    value: Doubles = np.maximum(1 - np.abs(x), 0.0)
    return value


def _keys(x: Doubles) -> Doubles:
    """Keys' kernel with a = -0.5."""
    a, x = -0.5, np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    value: Doubles = np.where(x < 1, near, np.where(x < 2, far, 0.0))
    return value


_WEIGHTS: dict[Interpolation, Callable[[int, int], AxisWeights]] = {
    "linear": _linear,
    "cubic": _cubic,
    "nearest": _nearest,
    "nearest_floor": _nearest_floor,
    "antialiased_linear": lambda length, count: _antialiased(length, count, 1.0, _triangle),
    "antialiased_cubic": lambda length, count: _antialiased(length, count, 2.0, _keys),
}
