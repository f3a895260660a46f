"""mahtrt's own kernels on the fake GPU: their CUDA source runs on the CPU, on the GPU's memory."""

from __future__ import annotations

import ctypes
import re
from typing import Any

from cuda_on_cpu import KERNELS, cpu_kernels
from fake_driver import FakeDriver, Kernel

_TYPES: dict[tuple[str, int], Any] = {
    ("pointer", 8): ctypes.c_void_p,
    ("whole number", 4): ctypes.c_int,
    ("whole number", 8): ctypes.c_longlong,
    ("floating point number", 4): ctypes.c_float,
    ("floating point number", 8): ctypes.c_double,
}


def teach(driver: FakeDriver, source: str) -> None:
    """Let a fake driver run the entries of one of ``mahtrt/cuda/kernels``.

    Args:
        source: Name of the source without its ending.
    """
    text = (KERNELS / f"{source}.cu").read_text(encoding="utf-8")
    entries = re.findall(r"^(?:\w+_)?KERNEL\((\w+)", text, re.MULTILINE)
    assert entries, f"{source}.cu names its entries otherwise"
    driver.kernels |= {entry: _kernel(source, entries, entry) for entry in entries}


def _kernel(source: str, entries: list[str], entry: str) -> Kernel:
    kernels = cpu_kernels(KERNELS / f"{source}.cu", entries)
    types = tuple(_TYPES[parameter] for parameter in kernels.parameters[entry])

    def run(memory: Any, grid: Any, block: Any, *values: Any) -> None:
        arguments = [kind(value) for kind, value in zip(types, values, strict=True)]
        kernels.launch(entry, grid, block, arguments)

    return Kernel(types, run)
