"""What the soft-argmax kernel is held against: its definition, and itself on the CPU."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from soft_argmax_ptx import SOURCE

Array = NDArray[np.float32]

_SHIM = Path(__file__).with_name("cuda_on_cpu.cpp")
# No contraction and no fast arithmetic, as on the GPU.
_OPTIONS = ("-std=c++17", "-O1", "-shared", "-fPIC", "-ffp-contract=off", "-fno-fast-math")


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
    """The kernel's two entries in CUDA's source, compiled with a shim by the C++ compiler.

    Skips the test where no C++ compiler is.
    """

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("g++") or shutil.which("clang++")
        if compiler is None:
            pytest.skip("no C++ compiler (g++, clang++) to run the kernel on the CPU with")
        built = folder / "kernel.so"
        define = f'-DKERNEL_SOURCE="{SOURCE}"'
        command = [compiler, *_OPTIONS, define, str(_SHIM), "-o", str(built)]
        subprocess.run(command, check=True)
        self._function = ctypes.CDLL(str(built)).run_soft_argmax

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
            blocks: How many; the threads of each run in one order or the other.

        Returns:
            Landmarks (blocks, 2), confidence (blocks,) and spread (blocks,).
        """
        heatmaps = np.ascontiguousarray(heatmaps)
        outputs = tuple(np.full(s, 7.0, np.float32) for s in ((blocks, 2), (blocks,), (blocks,)))
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in (heatmaps, *outputs)]
        half = int(heatmaps.dtype == np.float16)
        status = self._function(pointers[0], half, blocks, *numbers, *pointers[1:], int(backwards))
        assert status == 0, "some threads of a block ended while others wait at a barrier"
        return outputs[0], outputs[1], outputs[2]
