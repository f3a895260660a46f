"""libmahtrt, the C library, where it is installed: found, loaded through ctypes, checked.

Python works without it and gives the same bits; it is there for speed. The environment variable
``MAHTRT_LIBRARY`` names the library; empty or ``off``, it turns compiled code off. Else it is that
of the package ``mahtrt-native``.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import os
from pathlib import Path

from mahtrt.errors import MissingComponentError

VARIABLE = "MAHTRT_LIBRARY"
ABI = 1  # of the interface that is used here: MAHTRT_ABI of mahtrt.h
PREPROCESS_VERSION = 3  # of docs/preprocessing.md
_OFF = ("", "off")


def library_path() -> Path | None:
    """The library to load, or None where compiled code is off or not installed."""
    given = os.environ.get(VARIABLE)
    if given is not None:
        return None if given.lower() in _OFF else Path(given)
    try:
        package = importlib.import_module("mahtrt_native")
        return Path(package.library_path())
    except (ImportError, OSError, ValueError):  # the last where the package has lost its library
        return None


def library() -> ctypes.CDLL | None:
    """The library, loaded once per process, or None where there is none that can be used.

    Raises:
        MissingComponentError: ``MAHTRT_LIBRARY`` names one that cannot be used.
    """
    return _loaded()[0]


def why_not() -> str:
    """Why :func:`library` gives None, as a sentence; empty where it does not."""
    return _loaded()[1]


def forget() -> None:
    """Look for the library again the next time that it is asked for."""
    _loaded.cache_clear()


@functools.cache
def _loaded() -> tuple[ctypes.CDLL | None, str]:
    path = library_path()
    if path is None:
        off = os.environ.get(VARIABLE) is not None
        return None, f"{VARIABLE} turns it off." if off else "mahtrt-native is not installed."
    try:
        return _opened(path), ""
    except MissingComponentError as error:
        if os.environ.get(VARIABLE) is not None:
            raise
        return None, str(error)


def _opened(path: Path) -> ctypes.CDLL:
    try:
        found = ctypes.CDLL(str(path))
        found.mahtrt_abi.restype = ctypes.c_uint32
        found.mahtrt_version.restype = ctypes.c_char_p
        found.mahtrt_last_error.restype = ctypes.c_char_p
        abi, version = found.mahtrt_abi(), found.mahtrt_version().decode()
        pixels = found.mahtrt_preprocess_version()
    except (OSError, AttributeError) as error:
        raise MissingComponentError(
            str(path), got=str(error), expected="libmahtrt", fix=_fix()
        ) from error
    if (abi, pixels) != (ABI, PREPROCESS_VERSION):
        raise MissingComponentError(
            str(path),
            got=f"libmahtrt {version} with interface {abi} and preprocessing {pixels}",
            expected=f"interface {ABI} and preprocessing {PREPROCESS_VERSION}",
            fix=_fix(),
        )
    return found


def _fix() -> str:
    return f"Install mahtrt-native of this release, or turn it off with {VARIABLE}=off."
