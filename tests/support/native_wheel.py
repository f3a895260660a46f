"""The wheel mahtrt-native, built from this checkout and unpacked."""

from __future__ import annotations

import functools
import importlib.util
import shutil
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from native_library import BUILD, NATIVE, alone, compiler, needed, run

_FOLDER = BUILD.parent / "wheel"


@functools.cache
def built_wheel() -> Path:
    """The wheel's file. Compiled without optimising, which takes less time."""
    if importlib.util.find_spec("scikit_build_core") is None:
        pytest.skip("no scikit-build-core, which builds the wheel")
    needed("cmake")
    compiler("CXX", "c++", "g++", "clang++")
    with alone():
        shutil.rmtree(_FOLDER / "dist", ignore_errors=True)
        run(
            *(sys.executable, "-m", "pip", "wheel", NATIVE, "--wheel-dir", _FOLDER / "dist"),
            *("--no-build-isolation", "--no-deps", "--no-index", "--quiet"),
            *("-C", f"build-dir={_FOLDER / 'build'}", "-C", "cmake.build-type=None"),
        )
    (wheel,) = (_FOLDER / "dist").glob("*.whl")
    return wheel


@functools.cache
def unpacked_wheel() -> Path:
    """A folder for PYTHONPATH: what pip would put into site-packages."""
    wheel = built_wheel()
    site = _FOLDER / "site"
    with alone():
        shutil.rmtree(site, ignore_errors=True)
        with ZipFile(wheel) as archive:
            archive.extractall(site)
    return site
