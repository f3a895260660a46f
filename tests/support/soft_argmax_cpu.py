"""The kernel of the TensorRT plugin on the CPU."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
from cuda_on_cpu import KERNELS, cpu_kernels
from numpy.typing import NDArray

Array = NDArray[np.float32]


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
