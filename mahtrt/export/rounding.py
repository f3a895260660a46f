"""Landmarks that only rounding moves: heatmaps so large that float32 cannot tell their cells apart.

A soft-argmax of temperature T takes a difference d between two cells as a factor of exp(d / T).
Where heatmaps reach millions, as those of untrained networks may, float32 rounds by tenths and T is
a tenth or less: which of two almost equal cells wins is chance, in PyTorch as in ONNX.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mahtrt.runtime.decode import points_px
from mahtrt.spec import ModelSpec

Array = NDArray[np.float32]
Floats = NDArray[np.float64]

# Relative to the largest magnitude: the error that deep networks gather in float32.
ROUNDING = 1e-5
# Of a heatmap's magnitude: what dividing by the temperature and the softmax may add.
_DECODING = 4 * float(np.finfo(np.float32).eps)


def reason_of_rounding(
    reference: Mapping[str, Array], got: Mapping[str, Array], spec: ModelSpec, tolerance_px: float
) -> str:
    """Why landmarks differ, where rounding of the heatmaps explains all of it; otherwise "".

    Args:
        reference, got: Outputs by name, N first: PyTorch's and the ONNX graph's.
        spec: Says how landmarks are decoded.
        tolerance_px: Landmarks that are nearer need no explanation.
    """
    maps, points = spec.output("heatmaps"), spec.output("landmarks")
    if spec.decode.method != "soft_argmax" or maps is None or points is None:
        return ""
    ours, theirs = (
        points_px(outputs[points.name], points, spec).astype(np.float64)
        for outputs in (got, reference)
    )
    off_px = np.hypot(*np.moveaxis(ours - theirs, -1, 0))  # (N, K)
    moved = np.argwhere(~(off_px <= tolerance_px))
    if not len(moved):
        return ""
    rows, columns = moved.T
    before = reference[maps.name][rows, columns].astype(np.float64)  # (P, h, w)
    after = got[maps.name][rows, columns].astype(np.float64)
    size = np.abs(before).max(axis=(1, 2))
    off = np.abs(after - before).max(axis=(1, 2))
    slack = (off + _DECODING * size) / spec.decode.temperature  # (P,)
    low, high = _reach(before / spec.decode.temperature, slack, spec.input.size)  # (P, 2)
    landmarks = np.stack([ours[rows, columns], theirs[rows, columns]])
    inside = (landmarks >= low - tolerance_px) & (landmarks <= high + tolerance_px)
    if not (np.all(off <= ROUNDING * size) and np.all(inside)):  # not so for NaN
        return ""
    worst = int(np.argmax(off_px[rows, columns]))
    image, landmark = moved[worst]
    width, height = (high - low)[worst]
    return (
        f"rounding decides where {spec.landmarks[landmark]!r} lies on image {image + 1}: its"
        f" heatmap reaches {size[worst]:.2g}, PyTorch and ONNX agree to"
        f" {off[worst] / size[worst]:.0e} of that, and in the soft-argmax of temperature"
        f" {spec.decode.temperature:g} such a difference of {off[worst]:.2g} chooses among cells"
        f" that lie {max(width, height):.0f} px apart and almost tie"
    )


def _reach(logits: Floats, slack: Floats, size: tuple[int, int]) -> tuple[Floats, Floats]:
    """The least and largest x, y (P, 2) that logits (P, h, w) give when each may be off by slack.

    Args:
        logits: Heatmaps over the temperature.
        slack: (P,) how far each of a map's logits may be off.
        size: Height, width of the network's input, the frame of the result.
    """
    bounds = [
        _reach_along(np.logaddexp.reduce(logits, axis=axis), slack, pixels)
        for axis, pixels in ((1, size[1]), (2, size[0]))
    ]
    low, high = np.moveaxis(np.array(bounds), 0, -1)
    return low, high


def _reach_along(logs: Floats, slack: Floats, pixels: int) -> tuple[Floats, Floats]:
    """As :func:`_reach` along one axis, for the logarithms (P, n) of the weights of its cells.

    A mean is largest where the weights of all cells below some cell are as small as they may be,
    and those of the rest as large.
    """
    count = logs.shape[1]
    centres = (np.arange(count) + 0.5) * (pixels / count) - 0.5
    below = np.tri(count, count, -1)  # (cell where the weights change, cell)

    def means(lowered: Floats) -> Floats:
        shifted = logs[:, None, :] - 2 * slack[:, None, None] * lowered
        weights = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
        found: Floats = (weights * centres).sum(axis=-1) / weights.sum(axis=-1)
        return found

    return means(1 - below - np.eye(count)).min(axis=1), means(below).max(axis=1)
