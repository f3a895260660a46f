"""What the soft-argmax kernel is held against: its definition, and itself on the CPU."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
from cuda_on_cpu import KERNELS, cpu_kernels
from numpy.typing import NDArray

Array = NDArray[np.float32]


def definition(
    heatmaps: NDArray[np.generic], temperature: float, image_hw: Sequence[int]
) -> tuple[NDArray[np.float64], ...]:
    """Landmarks (..., 2), confidence and spread of maps (..., h, w), in double precision."""
    cells = heatmaps.astype(np.float64)
    peak = cells.max((-2, -1), keepdims=True)
    weights = np.exp((cells - peak) / float(np.float32(temperature)))
    weights /= weights.sum((-2, -1), keepdims=True)
    means, variance = [], np.zeros(cells.shape[:-2])
    for summed, pixels in ((-2, image_hw[1]), (-1, image_hw[0])):
        marginal = weights.sum(summed)  # (..., n)
        n = marginal.shape[-1]
        positions = (np.arange(n) + 0.5) * (pixels / n) - 0.5
        mean = (marginal * positions).sum(-1)
        variance += (marginal * (positions - mean[..., None]) ** 2).sum(-1)
        means.append(mean)
    return np.stack(means, -1), peak[..., 0, 0], np.sqrt(np.maximum(variance, 1e-12))


class CpuKernel:
    """The plugin's two entries on the CPU."""

    def __init__(self) -> None:
        entries = [f"mahtrt_soft_argmax_{kind}" for kind in ("f32", "f16")]
        self._kernels = cpu_kernels(KERNELS / "tensorrt_soft_argmax.cu", entries)

    def launch(
        self,
        heatmaps: NDArray[np.generic],
        numbers: Sequence[int],
        *,
        blocks: int,
        backwards: bool = False,
    ) -> tuple[Array, Array, Array]:
        """One launch as TensorRT makes it: the input, the whole numbers, the outputs.

        Args:
            heatmaps: (..., h, w), float32 or float16.
            numbers: The kernel's arguments between the input and the outputs.
            blocks: How many; they and the threads of each run in one order or the other.

        Returns:
            Landmarks (blocks, 2), confidence (blocks,) and spread (blocks,).
        """
        heatmaps = np.ascontiguousarray(heatmaps)
        outputs = tuple(np.full(s, 7.0, np.float32) for s in ((blocks, 2), (blocks,), (blocks,)))
        self._kernels.launch(
            f"mahtrt_soft_argmax_f{8 * heatmaps.itemsize}",
            (blocks, 1, 1),
            (256, 1, 1),
            [heatmaps, *map(ctypes.c_int, numbers), *outputs],
            backwards=backwards,
        )
        return outputs[0], outputs[1], outputs[2]
