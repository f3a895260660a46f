"""Where this package keeps libmahtrt, its headers, and what CMake and pkg-config need.

In a shell::

    export PKG_CONFIG_PATH=$(python -m mahtrt_native pkgconfig)
    cc program.c $(pkg-config --cflags --libs mahtrt)

    cmake -Dmahtrt_DIR=$(python -m mahtrt_native cmake) ...
"""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "__version__",
    "cmake_dir",
    "include_dir",
    "library_path",
    "pkgconfig_dir",
    "samples_dir",
]

__version__ = "0.1.0"

_HERE = Path(__file__).resolve().parent


def library_path() -> Path:
    """The shared library itself, ``libmahtrt.so.N`` with N the number of its interface."""
    (found,) = (_HERE / "lib").glob("libmahtrt.so.*")
    return found


def include_dir() -> Path:
    """Folder of ``mahtrt.h`` and ``mahtrt.hpp``."""
    return _HERE / "include"


def cmake_dir() -> Path:
    """Folder of ``mahtrtConfig.cmake``: the value of ``mahtrt_DIR``."""
    return _HERE / "lib" / "cmake" / "mahtrt"


def pkgconfig_dir() -> Path:
    """Folder of ``mahtrt.pc``, for ``PKG_CONFIG_PATH``."""
    return _HERE / "lib" / "pkgconfig"


def samples_dir() -> Path:
    """Folder of the samples' sources."""
    return _HERE / "share" / "mahtrt" / "samples"
