"""DARK: landmarks from heatmaps by their smoothed peak and a Taylor step. This is the definition.

From Zhang et al., "Distribution-Aware Coordinate Representation for Human Pose Estimation" (CVPR
2020): heatmaps trained on Gaussians are taken for Gaussians, whose logarithm is a parabola, so that
the derivatives at the highest cell tell where between the cells the centre lies. What is left open
there is settled here; :class:`mahtrt.models.dark.Dark2d` is the same in a graph, and
``mahtrt/cuda/kernels/dark.cu`` on a GPU, both within rounding.

1. *Smooth* along y and x with a Gaussian of ``sigma`` cells, cut off at ``ceil(2.5 * sigma)`` cells
   (11 of them for a sigma of 2 and 17 for 3, as in the paper's experiments), its weights divided by
   their sum. Cells outside of the map count as 0.
2. *Peak*: the first cell in row-major order whose smoothed value is the highest, or lower by at
   most ``TIE`` of it. So rounding does not decide between equal peaks, nor where a flat map has
   its landmark.
3. *Logarithm* of the peak and its eight neighbours, as fractions of the peak's value, where a
   fraction below ``LEAST_FRACTION`` counts as that. The paper first scales the smoothed map to the
   maximum of the original; derivatives of a logarithm do not see a factor, and with fractions the
   lower bound does not either.
4. *Step* ``-H^-1 g`` with the gradient g and the Hessian H by central differences, each of x and y
   clamped to one cell. There is none (the cell's centre is the landmark) where the peak is in the
   first or last row or column, where no value is above 0, or where H is not negative definite: an
   eigenvalue is not below ``-LEAST_CURVATURE``. A peak as wide as that (31 cells) says nothing
   about parts of a cell, and a flat one only has rounding to divide by.

The *confidence* is the highest value of the map as the network gave it. The *spread* is that of
what stands out: along x, the highest smoothed value of each column less half of the peak's are
weights, where that is positive, and their standard deviation counts; likewise along y; both
together as the root of the sum of squares. One Gaussian of the training sigma has about ``sigma``
cells, two peaks of one height half of their distance. A map without a value above 0 is as wide as
can be: every column and row weighs the same.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TIE = 1e-5
LEAST_FRACTION = 1e-10
LEAST_CURVATURE = 1e-3  # per cell squared
MOST_STEP = 1.0  # cell, along x and along y
STANDS_OUT = 0.5  # of the peak
LEAST_SIDE = 3  # cells: a peak inside of a map has neighbours


def gaussian_kernel(sigma: float) -> Floats:
    """The weights (n,) that a map is smoothed with along an axis, n odd; their sum is 1."""
    radius = math.ceil(2.5 * sigma)
    weights = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    kernel: Floats = weights / weights.sum()
    return kernel


def decode_dark(
    heatmaps: NDArray[np.floating], sigma: float, input_size: tuple[int, int]
) -> tuple[Floats, Floats, Floats]:
    """Read landmarks from heatmaps, in float64.

    Args:
        heatmaps: (…, h, w), finite, at least 3 cells on a side.
        sigma: Standard deviation in cells of the Gaussians that the network was trained on.
        input_size: (H, W) of the network's input, the frame of the landmarks.

    Returns:
        Landmarks (…, 2) as x, y in network pixels; confidence (…); spread (…) in network pixels.
    """
    maps = np.asarray(heatmaps, np.float64)
    shape, (rows, columns) = maps.shape[:-2], maps.shape[-2:]
    assert min(rows, columns) >= LEAST_SIDE
    flat = maps.reshape(-1, rows, columns)
    scale = np.array([input_size[1] / columns, input_size[0] / rows])  # pixels per cell
    cells = np.empty((len(flat), 2))
    spreads = np.empty(len(flat))
    for index, each in enumerate(flat):
        smoothed = smooth(each, sigma)
        cells[index] = _position(smoothed)
        spreads[index] = np.hypot(*(_deviations(smoothed) * scale))
    points = (cells + 0.5) * scale - 0.5
    return points.reshape(*shape, 2), maps.max(axis=(-2, -1)), spreads.reshape(shape)


def smooth(heatmap: Floats, sigma: float) -> Floats:
    """A map (h, w) after the Gaussian, zeros around it."""
    kernel = gaussian_kernel(sigma)
    radius = len(kernel) // 2
    for axis in (0, 1):
        length = heatmap.shape[axis]
        around = [(radius, radius) if axis == each else (0, 0) for each in (0, 1)]
        padded = np.pad(heatmap, around)
        parts = (np.take(padded, range(i, i + length), axis) for i in range(len(kernel)))
        heatmap = np.asarray(sum(w * part for w, part in zip(kernel, parts, strict=True)))
    return heatmap


def _position(smoothed: Floats) -> Floats:
    """x and y of the landmark in cells."""
    rows, columns = smoothed.shape
    peak = smoothed.max()
    y, x = np.unravel_index(int(np.argmax(smoothed >= peak - TIE * abs(peak))), smoothed.shape)
    inside = 0 < x < columns - 1 and 0 < y < rows - 1
    step = _step(smoothed[y - 1 : y + 2, x - 1 : x + 2]) if inside and peak > 0 else np.zeros(2)
    return np.array([x, y]) + step


def _step(around: Floats) -> Floats:
    """From the middle of (3, 3) positive values to the peak between them, x and y in cells."""
    logs = np.log(np.maximum(around / around[1, 1], LEAST_FRACTION))
    gradient = np.array([logs[1, 2] - logs[1, 0], logs[2, 1] - logs[0, 1]]) / 2
    xx, yy = (logs[1, 0] + logs[1, 2] - 2 * logs[1, 1], logs[0, 1] + logs[2, 1] - 2 * logs[1, 1])
    xy = (logs[2, 2] - logs[2, 0] - logs[0, 2] + logs[0, 0]) / 4
    hessian = np.array([[xx, xy], [xy, yy]])
    if np.linalg.eigvalsh(hessian).max() >= -LEAST_CURVATURE:
        return np.zeros(2)
    step: Floats = np.clip(-np.linalg.solve(hessian, gradient), -MOST_STEP, MOST_STEP)
    return step


def _deviations(smoothed: Floats) -> Floats:
    """Standard deviation along x and y, in cells, of what stands out."""
    peak = smoothed.max()
    found = []
    for axis in (0, 1):
        highest = smoothed.max(axis=axis)
        weights = np.maximum(highest / peak - STANDS_OUT, 0) if peak > 0 else np.ones_like(highest)
        positions = np.arange(len(highest))
        mean = np.average(positions, weights=weights)
        found.append(math.sqrt(np.average((positions - mean) ** 2, weights=weights)))
    return np.array(found)
