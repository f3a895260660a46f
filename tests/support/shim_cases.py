"""Launches of ``shim_cases.cu`` that the tests of the CPU shim make, some in another process."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
from cuda_on_cpu import CpuKernels, cpu_kernels

_ENTRIES = ("where", "total", "votes", "race", "uneven_barrier", "beyond", "overflow", "halves")


def shim_kernels() -> CpuKernels:
    return cpu_kernels(Path(__file__).with_name("shim_cases.cu"), _ENTRIES)


def total(blocks: int, backwards: bool) -> tuple[float, int]:
    """The sum of 0, 1, ... over blocks of 64, and what the counter is afterwards."""
    values = np.arange(64 * blocks, dtype=np.float32)
    partial, counter = np.zeros(blocks, np.float32), np.zeros(1, np.uint32)
    result = np.zeros(1, np.float32)
    shim_kernels().launch(
        "total",
        (blocks, 1, 1),
        (64, 1, 1),
        [values, (0.5, ctypes.c_double), partial, counter, result],
        backwards=backwards,
    )
    return float(result[0]), int(counter[0])


def well_behaved() -> None:
    assert total(5, backwards=False) == total(5, backwards=True) == (0.5 * 319 * 320 / 2, 0)


def beyond_an_array() -> None:
    shim_kernels().launch(
        "beyond", (1, 1, 1), (1, 1, 1), [np.zeros(64, np.int32), ctypes.c_int(64)]
    )


def overflowing() -> None:
    values = np.array([0, 2**31 - 1, 1], np.int32)
    shim_kernels().launch("overflow", (1, 1, 1), (1, 1, 1), [values])
