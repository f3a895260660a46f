"""Soft-argmax: landmarks, confidence and spread from heatmaps. This is the definition.

A landmark is the mean position under a softmax over its heatmap, and the *spread* the standard
deviation of that position, of both axes together. The *confidence* is the heatmap's highest value.
:class:`mahtrt.models.soft_argmax.SoftArgmax2d` is the same in a graph, and
``mahtrt/cuda/kernels/soft_argmax.cu`` on a GPU, both within rounding.

Values that are no heatmap:

- a NaN in a map makes all of its outputs NaN;
- with +infinity in it, or with -infinity in all of it, landmark and spread are NaN, and the
  confidence is the highest value;
- -infinity beside other values is a cell without weight.

A network that computes its maps at another size than it reads them at applies the sigmoid first
and resizes then: :func:`heatmaps_from_logits` is those two steps. The resize is bilinear between
pixel centres without antialiasing (ONNX ``Resize``: ``linear``, ``half_pixel``; PyTorch:
``interpolate(mode="bilinear", align_corners=False)``), edges repeated.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# As in the graph, where it keeps the gradient of a root finite: no spread is below 1e-6 pixels.
MIN_VARIANCE_PX2 = 1e-12


def soft_argmax(
    heatmaps: NDArray[np.generic],
    temperature: float,
    input_size: Sequence[int],
    affine: NDArray[np.floating] | None = None,
) -> tuple[Floats, Floats, Floats]:
    """Read landmarks from heatmaps, in float64.

    Args:
        heatmaps: (B, K, h, w) of any floating type; more or fewer leading dimensions without an
            affine.
        temperature: Divides the heatmaps before the softmax; its FP32 value counts.
        input_size: (H, W) of the network's input in pixels.
        affine: (B, 4), for each image x_scale, x_offset, y_scale, y_offset: a point x of the
            network's input is x * x_scale + x_offset in the image, and a length is multiplied by
            the geometric mean of both scales. None: the identity.

    Returns:
        Landmarks (B, K, 2) as x, y; confidence (B, K); spread (B, K). Landmarks and spread are in
        image pixels with an affine, else in network pixels. Pixel centres are at integers.
    """
    cells = heatmaps.astype(np.float64)
    peak = cells.max((-2, -1), keepdims=True)
    with np.errstate(invalid="ignore"):  # infinity - infinity
        weights = np.exp((cells - peak) / float(np.float32(temperature)))
        weights /= weights.sum((-2, -1), keepdims=True)
    means, variance = [], np.zeros(cells.shape[:-2])
    for axis, pixels in ((-2, input_size[1]), (-1, input_size[0])):
        marginal = weights.sum(axis)  # (B, K, n): over rows for x, over columns for y
        n = marginal.shape[-1]
        positions = (np.arange(n) + 0.5) * (pixels / n) - 0.5
        mean = (marginal * positions).sum(-1)
        variance += (marginal * (positions - mean[..., None]) ** 2).sum(-1)
        means.append(mean)
    landmarks, spread = np.stack(means, -1), np.sqrt(np.maximum(variance, MIN_VARIANCE_PX2))
    if affine is not None:
        numbers = np.asarray(affine, np.float64)[:, None]  # (B, 1, 4)
        landmarks = landmarks * numbers[..., 0::2] + numbers[..., 1::2]
        spread = spread * np.sqrt(np.abs(numbers[..., 0] * numbers[..., 2]))
    return landmarks, peak[..., 0, 0], spread


def heatmaps_from_logits(logits: NDArray[np.generic], size: Sequence[int]) -> Floats:
    """Sigmoid, then bilinear resize, in float64.

    Args:
        logits: (..., H, W) of any floating type.
        size: (h, w) of the heatmaps.

    Returns:
        Heatmaps (..., h, w) in [0, 1].
    """
    values = logits.astype(np.float64)
    with np.errstate(over="ignore"):  # exp of a large number: the sigmoid is 0
        maps: Floats = 1 / (1 + np.exp(-values))
    for axis, wanted in ((-2, size[0]), (-1, size[1])):
        maps = _resized(maps, axis, wanted)
    return maps


def _resized(maps: Floats, axis: int, wanted: int) -> Floats:
    """Linear interpolation along an axis; the maps themselves where the size is the same."""
    given = maps.shape[axis]
    if given == wanted:
        return maps
    positions = np.clip((np.arange(wanted) + 0.5) * given / wanted - 0.5, 0, given - 1)
    before = np.floor(positions).astype(np.int64)
    after = np.minimum(before + 1, given - 1)
    share = positions - before
    shape = (wanted, 1) if axis == -2 else (wanted,)
    share = share.reshape(shape)
    result: Floats = maps.take(before, axis) * (1 - share) + maps.take(after, axis) * share
    return result
