"""Preprocessing in integers: what the CUDA kernel computes, exactly. This is its definition.

:func:`mahtrt.data.preprocess.preprocess` computes with OpenCV, whose sums are floating point here
and integers there. A kernel that is to be the same on every GPU needs one exact rule, and this is
it: geometry, padding and normalisation are those of ``preprocess``; a grey level is a quotient of
integers, rounded once. The two differ by one grey level at most, and hardly anywhere (noise,
OpenCV 4.11 and 5.0; the share of pixels that differ):

    ==================================  ========  ========
    way                                 uint8     uint16
    ==================================  ========  ========
    area, both axes shrink              < 0.01%   < 0.3%
    area, both axes grow; linear        < 0.5%    < 0.5%
    area, one axis shrinks, one grows   < 0.1%    < 0.2%
    ==================================  ========  ========

1. *Gray from RGB* at the image's own size: ``(9798 R + 19235 G + 3735 B + 2^14) >> 15``, which
   OpenCV 5.0 computes for both dtypes.
2. *Mean* along an axis that shrinks: new pixel i of m covers i n / m to (i + 1) n / m of n pixels;
   in units of 1 / m of a pixel all ends are integers, and the weights' sum is n.
3. *Linear* along an axis that grows, and with ``interpolation = "linear"`` along both: centres at
   half pixels, weights in units of 1 / (2 m), the last pixel repeated beyond the border.
4. *Rounding* to the nearest grey level, a half to the even one. OpenCV has ways of its own, which
   are followed: halves of the means of 2x2 pixels go up, and linear interpolation of uint8 has
   weights of 11 bits, and its rows' sums lose 4 bits, then 16, before they are rounded.

``cubic`` and ``nearest`` have no such rule (OpenCV's nearest pixel differs between its versions
where two are as near): images that they resize are prepared on the CPU.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mahtrt.cuda.preprocess_launch import AxisMethod, Resizing, Rounding
from mahtrt.data.preprocess import (
    Fit,
    Placement,
    check_image,
    fit_of,
    pad_level,
    place,
    tensor_from_fitted,
)
from mahtrt.errors import ImageError
from mahtrt.spec import InputSpec

Integers = NDArray[np.int64]

DEFINED = ("area", "linear")  # interpolations
GRAY_WEIGHTS = (9798, 19235, 3735)  # of R, G and B, over 2^15
_WEIGHT_ONE = 2048  # of OpenCV's 11-bit weights


def preprocess_in_integers(
    image: NDArray[np.generic], spec: InputSpec
) -> tuple[NDArray[np.float32], Placement]:
    """As :func:`mahtrt.data.preprocess.preprocess`, with every grey level an exact quotient.

    Raises:
        ImageError: Wrong rank, dtype, channel count or size, or another interpolation.
    """
    check_image(image)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    fit = fit_of(image.shape, spec)
    how = resizing(fit, image.dtype, spec)
    levels = image.astype(np.int64)
    if image.ndim == 3 and spec.channels == 1:
        levels = (levels @ np.array(GRAY_WEIGHTS) + 2**14) >> 15
    native = image.dtype.newbyteorder("=")
    placed = place(_resized(levels, how).astype(native), fit, spec)
    return tensor_from_fitted(placed, spec), fit.placement


def resizing(fit: Fit, dtype: np.dtype[np.generic], spec: InputSpec) -> Resizing:
    """What the kernel is told of an image's way to the network's input.

    Args:
        fit: What :func:`mahtrt.data.preprocess.fit_of` gives for the image and the spec.
        dtype: The image's.

    Raises:
        ImageError: The image is resized by a rule that has no definition in integers.
    """
    if spec.interpolation not in DEFINED and fit.image != fit.size:
        raise ImageError(
            "interpolation",
            got=spec.interpolation,
            expected=f"{' or '.join(DEFINED)}, which are defined in integers",
            fix="Prepare the images on the CPU.",
        )
    down, across = (
        _axis_method(length, new, spec) for length, new in zip(fit.image, fit.size, strict=True)
    )
    return Resizing(
        image=fit.image,
        size=fit.size,
        corner=fit.corner,
        target=fit.target,
        methods=(down, across),
        rounding=_rounding(fit, dtype, spec),
        pad=pad_level(dtype, spec),
    )


def _axis_method(length: int, new: int, spec: InputSpec) -> AxisMethod:
    if length == new:
        return "same"
    return "mean" if spec.interpolation == "area" and new < length else "linear"


def _rounding(fit: Fit, dtype: np.dtype[np.generic], spec: InputSpec) -> Rounding:
    (height, width), (new_h, new_w) = fit.image, fit.size
    narrow = dtype.name == "uint8"
    if fit.image == fit.size:
        return "even"
    if (height, width) == (2 * new_h, 2 * new_w) and (narrow or spec.interpolation == "area"):
        return "up"
    grows = new_h >= height and new_w >= width
    if narrow and (grows or spec.interpolation == "linear"):
        return "fixed"
    return "even"


def _resized(levels: Integers, how: Resizing) -> Integers:
    """Grey levels (H, W) or (H, W, 3) at the new size, rounded."""
    if how.rounding == "fixed":
        return _fixed(levels, *how.size)
    sums, denominator = levels, 1
    for axis in (0, 1):
        apply = {"mean": _mean, "linear": _linear, "same": _same}[how.methods[axis]]
        turned, one = apply(np.moveaxis(sums, axis, 0), how.size[axis])
        sums, denominator = np.moveaxis(turned, 0, axis), denominator * one
    quotient, rest = np.divmod(2 * sums + denominator, 2 * denominator)
    if how.rounding == "even":
        quotient -= (rest == 0) & (quotient & 1)
    return quotient


def _mean(levels: Integers, count: int) -> tuple[Integers, int]:
    """Weighted sums along the first axis, and what the weights add up to."""
    length = len(levels)
    table = np.zeros((length + 1, *levels.shape[1:]), np.int64)
    np.cumsum(levels, axis=0, out=table[1:])
    whole, part = np.divmod(np.arange(count + 1) * length, count)
    upto = count * table[whole]
    upto += _column(part, levels) * levels[np.minimum(whole, length - 1)]
    return upto[1:] - upto[:-1], length


def _linear(levels: Integers, count: int) -> tuple[Integers, int]:
    before, after, part = _neighbours(len(levels), count)
    part = _column(part, levels)
    return levels[before] * (2 * count - part) + levels[after] * part, 2 * count


def _same(levels: Integers, count: int) -> tuple[Integers, int]:
    assert len(levels) == count
    return levels, 1


def _neighbours(length: int, count: int) -> tuple[Integers, Integers, Integers]:
    """The pixels that new ones lie between, and how far, in units of 1 / (2 count)."""
    whole, part = np.divmod((2 * np.arange(count) + 1) * length - count, 2 * count)
    return np.clip(whole, 0, length - 1), np.clip(whole + 1, 0, length - 1), part


def _fixed(levels: Integers, height: int, width: int) -> Integers:
    """OpenCV's linear interpolation of uint8. Along x, the border has one neighbour."""
    before, after, part = _neighbours(levels.shape[1], width)
    part = np.where(before == after, 0, part)
    rows = levels[:, before] * _column(_eleven_bits(2 * width - part, width), levels[0])
    rows += levels[:, after] * _column(_eleven_bits(part, width), levels[0])
    rows >>= 4
    before, after, part = _neighbours(levels.shape[0], height)
    above = (rows[before] * _column(_eleven_bits(2 * height - part, height), levels)) >> 16
    below = (rows[after] * _column(_eleven_bits(part, height), levels)) >> 16
    return (above + below + 2) >> 2


def _eleven_bits(part: Integers, count: int) -> Integers:
    """``part / (2 count)`` in units of 2^-11, rounded, a half to the even one."""
    weight, rest = np.divmod(part * _WEIGHT_ONE + count, 2 * count)
    weight -= (rest == 0) & (weight & 1)
    return weight


def _column(values: Integers, levels: Integers) -> Integers:
    """Values along the first axis of the levels, for a product with them."""
    return values.reshape(-1, *[1] * (levels.ndim - 1))
