"""The CUDA libraries that ONNX Runtime's provider needs, found and loaded before it looks for them.

The provider is a shared library that names CUDA's as dependencies. Where the loader does not find
them, ONNX Runtime writes a line to stderr and runs on the CPU. NVIDIA's wheels, which PyTorch
installs too, put them into ``site-packages/nvidia``, where no loader looks: a library that is
loaded by its path once is found by its name afterwards. ``onnxruntime.preload_dlls`` (since 1.21)
does the same; it prints to stdout, and has to import ONNX Runtime to tell what is missing.

Names are those of ONNX Runtime 1.22 (CUDA 12, cuDNN 9) to 1.31 (CUDA 13, cuDNN 9).
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

OLDEST_CUDA = 12
_CUFFT = {12: "libcufft.so.11", 13: "libcufft.so.12"}
_VERSION = re.compile(r"^cuda_version\s*=\s*['\"](\d+)", re.MULTILINE)

Load = Callable[[str], Any]


def cuda_major(package: Path | None = None) -> int | None:
    """Major version of CUDA that the installed ONNX Runtime is built with; None where it has none.

    Args:
        package: The package's folder; None looks for it, and imports nothing.
    """
    folder = package or _package_folder()
    text = ""
    if folder is not None:
        with contextlib.suppress(OSError):
            text = (folder / "capi/build_and_package_info.py").read_text(encoding="utf-8")
    found = _VERSION.search(text)
    return int(found[1]) if found else None


def needed(major: int) -> tuple[str, ...]:
    """File names of the libraries, each behind those that it needs itself."""
    return (
        f"libcudart.so.{major}",
        f"libnvrtc.so.{major}",
        f"libcublasLt.so.{major}",
        f"libcublas.so.{major}",
        "libcurand.so.10",
        _CUFFT.get(major, ""),
        "libcudnn.so.9",
    )


def load_libraries(major: int, load: Load = ctypes.CDLL) -> tuple[str, ...]:
    """Load what the provider needs, from NVIDIA's wheels or where the system has it.

    Returns:
        Names of the libraries that are not to be had; those that newer providers do without
        (NVRTC and cuFFT) are not among them.
    """
    optional = (f"libnvrtc.so.{major}", _CUFFT.get(major, ""))
    missing = [name for name in needed(major) if name and not _load(name, load)]
    return tuple(name for name in missing if name not in optional)


def _load(name: str, load: Load) -> bool:
    for place in (*_in_wheels(name), name):
        with contextlib.suppress(OSError):
            load(place)
            return True
    return False


def _in_wheels(name: str) -> Iterator[str]:
    """Where NVIDIA's wheels have a library: ``nvidia/cu13/lib``, ``nvidia/cudnn/lib``, …"""
    spec = importlib.util.find_spec("nvidia")  # a folder that many wheels share
    for folder in (spec.submodule_search_locations if spec else None) or ():
        yield from map(str, sorted(Path(folder).glob(f"*/lib/{name}")))


def _package_folder() -> Path | None:
    spec = importlib.util.find_spec("onnxruntime")
    return Path(spec.origin).parent if spec and spec.origin else None
