"""What the CUDA driver says of itself and its GPUs, through its C interface and nothing else."""

from __future__ import annotations

import contextlib
import ctypes
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mahtrt.errors import MissingComponentError

CUDA_LIBRARY = "libcuda.so.1"
NEED_GPU = "Needs a machine with an NVIDIA GPU and its driver; no package can bring it."


@dataclass(frozen=True, slots=True)
class CudaProbe:
    """What the CUDA driver says.

    Attributes:
        version: Version of CUDA that the driver supports, "13.0"; "" without a driver.
        devices: Name and compute capability, "NVIDIA H100 80GB HBM3 (SM 9.0)".
        problem: Why there is no device to use, "" if there is one.
        names: The devices' names alone, in the same order.
        capabilities: Their compute capabilities as TensorRT names them, "SM90".
        driver: Version of the kernel driver, "580.65.06"; "" where it is unknown.
    """

    version: str = ""
    devices: tuple[str, ...] = ()
    problem: str = ""
    names: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    driver: str = ""


def missing_gpu(needed_for: str, got: str) -> MissingComponentError:
    """The error about something that needs a GPU where there is none.

    Args:
        needed_for: What the GPU is wanted for.
        got: What is there instead.
    """
    return MissingComponentError(needed_for, got=got, expected="an NVIDIA GPU", fix=NEED_GPU)


def probe_cuda(load: Callable[[str], Any] = ctypes.CDLL, *, root: Path = Path("/")) -> CudaProbe:
    """Ask the CUDA driver for its devices, through its C interface and nothing else.

    Args:
        load: Opens a shared library; for tests.
        root: Where ``proc`` is found; for tests.
    """
    kernel_driver = _kernel_driver(root / "proc/driver/nvidia/version")
    try:
        library = load(CUDA_LIBRARY)
    except OSError:
        problem = f"no NVIDIA driver ({CUDA_LIBRARY} cannot be loaded)"
        return CudaProbe(problem=problem, driver=kernel_driver)
    code = library.cuInit(0)
    number = ctypes.c_int(0)
    library.cuDriverGetVersion(ctypes.byref(number))
    version = f"{number.value // 1000}.{number.value % 1000 // 10}"
    if code != 0:
        problem = f"the driver is there, but cuInit fails with {cuda_error_name(library, code)}"
        return CudaProbe(version, problem=problem, driver=kernel_driver)
    count = ctypes.c_int(0)
    library.cuDeviceGetCount(ctypes.byref(count))
    found = [_device(library, index) for index in range(count.value)]
    return CudaProbe(
        version,
        tuple(f"{name} (SM {major}.{minor})" for name, major, minor in found),
        "" if found else "the driver sees no device",
        tuple(name for name, _, _ in found),
        tuple(f"SM{major}{minor}" for _, major, minor in found),
        kernel_driver,
    )


def cuda_error_name(library: Any, code: int) -> str:
    """A code of the driver with its name: ``803 (CUDA_ERROR_SYSTEM_DRIVER_MISMATCH)``."""
    name = ctypes.c_char_p()
    try:
        known = library.cuGetErrorName(code, ctypes.byref(name)) == 0 and name.value
    except AttributeError:  # a library that is not the real one
        known = False
    return f"{code} ({name.value.decode()})" if known and name.value else str(code)


def _device(library: Any, index: int) -> tuple[str, int, int]:
    """Name and compute capability (major, minor) of a device."""
    handle, name = ctypes.c_int(0), ctypes.create_string_buffer(256)
    library.cuDeviceGet(ctypes.byref(handle), index)
    library.cuDeviceGetName(name, len(name), handle)
    capability = []
    for attribute in (75, 76):  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
        value = ctypes.c_int(0)
        library.cuDeviceGetAttribute(ctypes.byref(value), attribute, handle)
        capability.append(value.value)
    return name.value.decode(errors="replace"), capability[0], capability[1]


def _kernel_driver(place: Path) -> str:
    """The version that the kernel's driver tells in a file, "" where it is unknown."""
    text = ""
    with contextlib.suppress(OSError):
        text = place.read_text(encoding="utf-8", errors="replace")
    found = re.search(r"\b(\d{3,}(?:\.\d+)+)\b", text.partition("\n")[0])
    return found[1] if found else ""
