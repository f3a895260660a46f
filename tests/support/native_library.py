"""libmahtrt of this checkout: built by CMake once, and again where a source has changed.

The build folder stays, so that the next run of the tests compiles what was edited. Processes that
test side by side wait for the first of them.
"""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NATIVE = Path(__file__).resolve().parents[2] / "native"
BUILD = NATIVE / "build" / "tests"


def program(name: str) -> str | None:
    """Path of a program: on PATH, or beside the interpreter, where wheels put theirs."""
    beside = Path(sys.executable).parent / name
    return shutil.which(name) or (str(beside) if beside.is_file() else None)


def needed(name: str) -> str:
    """Path of a program; the test is skipped where there is none."""
    return program(name) or pytest.skip(f"no program {name} on this machine")


def compiler(variable: str, *names: str) -> str:
    """The compiler that an environment variable names, or the first that is there."""
    found = (program(name) for name in (os.environ.get(variable, ""), *names) if name)
    return next(filter(None, found), None) or pytest.skip(f"no compiler {' or '.join(names)} here")


def run(*command: object, **environment: str) -> str:
    """Run a program that has to succeed; give its stdout."""
    done = subprocess.run(
        [*map(str, command)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, f"{command[0]}: {done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@contextmanager
def alone() -> Iterator[None]:
    """One process at a time; a lock ends with its process."""
    BUILD.parent.mkdir(exist_ok=True)
    with BUILD.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def configure(source: Path, build: Path, *definitions: str) -> None:
    """``cmake`` with the compilers and the build program that are here now."""
    cmake, ninja = needed("cmake"), program("ninja")
    tools = {
        "CMAKE_C_COMPILER": compiler("CC", "cc", "gcc", "clang"),
        "CMAKE_CXX_COMPILER": compiler("CXX", "c++", "g++", "clang++"),
    }
    if ninja:
        tools["CMAKE_MAKE_PROGRAM"] = ninja
    else:
        needed("make")
    given = [
        *("-G", "Ninja" if ninja else "Unix Makefiles"),
        *(f"-D{name}={value}" for name, value in tools.items()),
        *definitions,
    ]
    made_with = build / "made_with.txt"
    if made_with.is_file() and made_with.read_text() != "\n".join(given):
        shutil.rmtree(build)  # CMake keeps what it found first
    run(cmake, "-S", source, "-B", build, *given)
    made_with.write_text("\n".join(given))


@functools.cache
def native_build() -> Path:
    """The build folder: libmahtrt.so.1, its samples, and tests/ with what ctest runs."""
    if not sys.platform.startswith("linux"):
        pytest.skip("libmahtrt is for Linux")
    with alone():
        options = ("MAHTRT_TESTS", "MAHTRT_SAMPLES", "MAHTRT_WERROR")
        configure(NATIVE, BUILD, *(f"-D{option}=ON" for option in options))
        # Beside other tests, which have time limits, one core has to do.
        jobs = "1" if "PYTEST_XDIST_WORKER" in os.environ else "2"
        run(needed("cmake"), "--build", BUILD, "--parallel", jobs)
    return BUILD


def native_library() -> Path:
    """libmahtrt.so.1, built."""
    return native_build() / "libmahtrt.so.1"


@functools.cache
def native_prefix() -> Path:
    """What ``cmake --install`` makes of the build."""
    build = native_build()
    prefix = build / "installed"
    with alone():
        run(needed("cmake"), "--install", build, "--prefix", prefix)
    return prefix
