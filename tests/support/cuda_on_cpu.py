"""Kernels of mahtrt on the CPU: their CUDA source, compiled with a shim by the C++ compiler.

    kernels = cpu_kernels(KERNELS / "soft_argmax.cu", ["mahtrt_soft_argmax_maps_f32"])
    kernels.launch(
        "mahtrt_soft_argmax_maps_f32",
        grid=(7, 1, 1),
        block=(256, 1, 1),
        arguments=[heatmaps, ctypes.c_int(64), (0.05, ctypes.c_float), landmarks, None],
        backwards=False,
    )

Arguments are those of the entry, in its order: a NumPy array (its memory, which the kernel reads
and writes), a ctypes scalar, a pair of a value and its ctype, or None for a null pointer. Their
number, kinds and sizes are held against the entry's. Blocks run one after the other, threads turn
by turn from barrier to barrier; ``backwards`` turns both orders round, which must change nothing.
A thread that waits at a barrier to which others never come is a failed assertion.

What a kernel may use: threadIdx, blockIdx, blockDim, gridDim (x, y, z), static ``__shared__``
memory (it holds rubbish of the block before), ``__syncthreads``, ``__syncwarp``,
``__threadfence``, atomics, warp shuffles and votes, ``__ldg``/``__ldcs``/``__ldcg``, short
vectors (``uint4`` ...), and the functions of ``mahtrt/cuda/kernels/gpu.cuh``. What else it needs
is added to ``cuda_on_cpu.cpp``. An entry is ``extern "C"`` and has no default arguments.

A sanitizer finds accesses outside of NumPy's arrays and undefined arithmetic. It has to be in the
process from its start, so the work is a function that another process calls::

    run_sanitized("preprocess_cases", "run_all")  # a module of tests/support, a function in it

In that process :func:`cpu_kernels` compiles with the sanitizer; the function asserts as usual.
Under it memory that a kernel gets should be an array's own, not a view into a larger one.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

KERNELS = Path(__file__).resolve().parents[2] / "mahtrt/cuda/kernels"

Dimensions = tuple[int, int, int]

_SHIM = Path(__file__).with_name("cuda_on_cpu.cpp")
# No contraction: what is written is what is computed, whatever the processor.
_OPTIONS = ("-std=c++20", "-shared", "-fPIC", "-ffp-contract=off", "-U_FORTIFY_SOURCE")
_SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O0")
_SANITIZING = "MAHTRT_TEST_SANITIZED_KERNELS"
_CODES = {"P": "pointer", "i": "whole number", "f": "floating point number", "S": "struct"}


def cpu_kernels(source: Path, entries: Sequence[str]) -> CpuKernels:
    """The entries of a ``.cu`` file, compiled once per process and source.

    Skips the test where no C++ compiler is.
    """
    return _compiled(source, tuple(entries), _SANITIZING in os.environ)


class CpuKernels:
    """Entries of one compiled source; see the module for the arguments of a launch."""

    def __init__(self, library: ctypes.CDLL, entries: Sequence[str]) -> None:
        self._functions = {name: getattr(library, f"run_{name}") for name in entries}
        self.parameters = {name: _parameters(library, name) for name in entries}

    def launch(
        self,
        entry: str,
        grid: Dimensions,
        block: Dimensions,
        arguments: Sequence[Any],
        *,
        backwards: bool = False,
    ) -> None:
        """Run all blocks, and return when they have ended."""
        assert len(grid) == len(block) == 3
        assert min(*grid, *block) >= 1
        assert block[0] * block[1] * block[2] <= 1024, "a block has at most 1,024 threads"
        assert grid[0] < 2**31
        assert max(grid[1:]) < 2**16, "a grid's y and z have at most 65,535 blocks"
        values = [_as_ctype(argument) for argument in arguments]
        given = [(_kind(value), ctypes.sizeof(value)) for value in values]
        assert given == self.parameters[entry], f"{entry}: other arguments than its parameters"
        pointers = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
        sizes = (ctypes.c_uint * 6)(*grid, *block)
        status = self._functions[entry](pointers, sizes, int(backwards))
        assert status == 0, "some threads wait at a barrier to which others never come"


def run_sanitized(module: str, function: str) -> None:
    """Call a function of a module of tests/support in a process with a sanitizer.

    Skips the test where the compiler has none; fails with the sanitizer's report.
    """
    compiler = _compiler()
    libraries = [_library(compiler, name) for name in ("libasan.so", "libubsan.so")]
    environment = os.environ | {
        _SANITIZING: str(_folder()),
        "LD_PRELOAD": " ".join(libraries),
        "PYTHONMALLOC": "malloc",
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    code = f"import sys; sys.path[:0] = {sys.path!r}; import {module}; {module}.{function}()"
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"{result.stdout[-2000:]}\n{result.stderr[-6000:]}"


@functools.cache
def _compiled(source: Path, entries: tuple[str, ...], sanitize: bool) -> CpuKernels:
    name = hashlib.sha256(repr((str(source), entries, sanitize)).encode()).hexdigest()[:16]
    built = _folder() / f"{name}.so"
    if not built.exists():
        _compile(source, entries, sanitize, built)
    return CpuKernels(ctypes.CDLL(str(built)), entries)


def _compile(source: Path, entries: tuple[str, ...], sanitize: bool, built: Path) -> None:
    defines = [
        f'-DKERNEL_SOURCE="{source}"',
        f"-DKERNEL_ENTRIES={' '.join(f'ENTRY({entry})' for entry in entries)}",
    ]
    options = [*_OPTIONS, *(_SANITIZE if sanitize else ("-O2",))]
    command = [_compiler(), *options, *defines, str(_SHIM), "-o", str(built)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def _compiler() -> str:
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler (g++, clang++) to run the kernel on the CPU with")
    return compiler


def _library(compiler: str, name: str) -> str:
    command = [compiler, f"-print-file-name={name}"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    if not Path(found).is_absolute():
        pytest.skip(f"the C++ compiler has no sanitizer ({name})")
    return found


@functools.cache
def _folder() -> Path:
    if given := os.environ.get(_SANITIZING):  # of the process that started this one
        return Path(given)
    folder = tempfile.mkdtemp(prefix="mahtrt-cpu-kernels-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _parameters(library: ctypes.CDLL, entry: str) -> list[tuple[str, int]]:
    """Kind and size of each parameter."""
    text = ctypes.create_string_buffer(1024)
    getattr(library, f"describe_{entry}")(text)
    codes = text.value.decode()
    triples = [codes[i : i + 3] for i in range(0, len(codes), 3)]
    return [(_CODES[each[0]], int(each[1:])) for each in triples]


def _as_ctype(argument: Any) -> Any:
    if argument is None:
        return ctypes.c_void_p(None)
    if isinstance(argument, np.ndarray):
        assert argument.flags.c_contiguous
        return ctypes.c_void_p(argument.ctypes.data)
    if isinstance(argument, tuple):
        value, ctype = argument
        return ctype(value)
    return argument


def _kind(value: Any) -> str:
    if isinstance(value, ctypes.c_void_p):
        return "pointer"
    if isinstance(value, (ctypes.Structure, ctypes.Array)):
        return "struct"
    floating = isinstance(value, (ctypes.c_float, ctypes.c_double))
    return "floating point number" if floating else "whole number"
