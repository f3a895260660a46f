"""Kernels from their source: the PTX that is shipped, and code for a card at its first use.

    python -m mahtrt.cuda.compile           write the PTX of every kernel beside its source
    python -m mahtrt.cuda.compile --check   exit 1 where one is not what its source compiles to

PTX for the oldest architecture is shipped, and a driver compiles it for any newer card. Where
NVRTC is installed a card gets code for its own architecture instead: it can use instructions that
the oldest one lacks. That code is kept in the cache folder, in ``kernels/<digest>.cubin``; the
digest is over everything that it was made of. A cache that is damaged, or that cannot be read or
written, only costs the compilation.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mahtrt.atomic import write_bytes_atomic, write_text_atomic
from mahtrt.cache import cache_folder, make_private
from mahtrt.cuda.device import CudaDevice, CudaError, Module
from mahtrt.errors import BuildError, MahtrtError, MissingComponentError, require
from mahtrt.reading import Wanted, read_regular

KERNELS = Path(__file__).with_name("kernels")
# What kernels may include; NVRTC gets them by name.
HEADERS = ("gpu.cuh", "dark_finish.cuh", "heatmap_sources.cuh", "soft_argmax_sums.cuh")
# What is shipped: the names of the sources.
SOURCES = ("dark", "preprocess", "soft_argmax")

# The oldest architecture of CUDA 13; drivers compile it for every newer GPU.
SHIPPED_ARCHITECTURE = "compute_75"
# NVRTC stamps its own, newest instruction set version, which older drivers refuse to read. The
# kernels use nothing newer than this one, that of CUDA 11.0.
INSTRUCTION_SET = "7.0"

_NEEDED_FOR = "compiling CUDA kernels"
_OPTIONS = ("--std=c++17",)
_MOST_BYTES = 64 * 2**20
_DIGEST_BYTES = 32  # of SHA-256, before a cached kernel


@dataclass(frozen=True, slots=True)
class CompiledKernel:
    """Kernels as a driver loads them.

    Attributes:
        image: A cubin or PTX.
        note: Which it is and why, in words: ``cubin for sm_90 by NVRTC 13.2``.
    """

    image: bytes
    note: str


def load_kernels(device: CudaDevice, name: str) -> tuple[Module, str]:
    """Kernels on a device: of its own architecture where possible, else of the shipped PTX.

    Args:
        device: Entered by the caller.
        name: The source, such as ``soft_argmax``.

    Returns:
        The module, and where it comes from in words.

    Raises:
        CudaError: The driver refuses the shipped PTX too.
    """
    compiled = compiled_kernel(name, device.capability)
    try:
        return device.load(compiled.image), compiled.note
    except CudaError as error:
        shipped = shipped_ptx(name)
        if compiled.image == shipped or error.loses_device:
            raise
        return device.load(shipped), f"shipped PTX; the driver refused the {compiled.note}"


def compiled_kernel(
    name: str, capability: str, *, environment: Mapping[str, str] = os.environ
) -> CompiledKernel:
    """Kernels for a card: compiled for it or taken from the cache, else the shipped PTX.

    Args:
        name: The source, such as ``soft_argmax``.
        capability: The card's, ``SM90``.
        environment: Says where the cache folder is.
    """
    architecture = capability.lower().replace("sm", "sm_")
    try:
        version, architectures = _nvrtc_facts()
        if architecture not in architectures:
            raise _refusal(f"NVRTC {version}, which does not know {architecture}")
        return _cubin(name, architecture, version, environment)
    except (BuildError, MissingComponentError) as error:
        return CompiledKernel(shipped_ptx(name), f"shipped PTX; {error}")


def shipped_ptx(name: str) -> bytes:
    """The PTX of a source as it was shipped."""
    return ptx_place(name).read_bytes()


def ptx_place(name: str) -> Path:
    """Where the shipped PTX of a source is."""
    return KERNELS / f"{name}.ptx"


def compile_ptx(name: str, architecture: str = SHIPPED_ARCHITECTURE) -> str:
    """The PTX of a source, by the NVRTC that is installed: the same text on every machine.

    Raises:
        MissingComponentError: NVRTC or its Python binding is not installed.
        BuildError: NVRTC refuses the source; the message has its log.
    """
    ptx = _compile(name, architecture, "PTX").decode().rstrip("\0\n ") + "\n"
    return re.sub(r"(?m)^\.version .*$", f".version {INSTRUCTION_SET}", ptx)


def compiler_of(ptx: str) -> str:
    """The release of the compiler that made some PTX, such as ``13.2``; "" where it says none."""
    found = re.search(r"Cuda compilation tools, release ([0-9.]+)", ptx)
    return found[1] if found else ""


def nvrtc_version() -> str:
    """The release of NVRTC, such as ``13.2``.

    Raises:
        MissingComponentError: It or its Python binding is not installed.
    """
    return _nvrtc_facts()[0]


def _cubin(
    name: str, architecture: str, version: str, environment: Mapping[str, str]
) -> CompiledKernel:
    note = f"cubin for {architecture} by NVRTC {version}"
    folder = _cache(environment)
    place = folder / f"{_digest(name, architecture, version)}.cubin" if folder else None
    kept = _read_cached(place) if place else b""
    if kept:
        return CompiledKernel(kept, f"{note}, from the cache")
    image = _compile(name, architecture, "CUBIN")
    if place:
        with contextlib.suppress(OSError, MahtrtError):
            write_bytes_atomic(place, hashlib.sha256(image).digest() + image)
    return CompiledKernel(image, note)


def _cache(environment: Mapping[str, str]) -> Path | None:
    """The folder of compiled kernels, which only this user may change; None where it cannot be."""
    with contextlib.suppress(OSError, RuntimeError, MahtrtError):  # RuntimeError: no home
        return make_private(make_private(cache_folder(None, environment)) / "kernels")
    return None


def _read_cached(place: Path) -> bytes:
    """What was kept, b"" where there is nothing whole."""
    content = b""
    with contextlib.suppress(MahtrtError):
        content = read_regular(place, Wanted("a compiled kernel"), _MOST_BYTES)
    image = content[_DIGEST_BYTES:]
    whole = image and hashlib.sha256(image).digest() == content[:_DIGEST_BYTES]
    return image if whole else b""


def _digest(name: str, architecture: str, version: str) -> str:
    """SHA-256 over all that a cubin follows from."""
    texts = [(KERNELS / file).read_text(encoding="utf-8") for file in (f"{name}.cu", *HEADERS)]
    facts = [name, *texts, architecture, version, *_options(architecture)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _options(architecture: str) -> tuple[str, ...]:
    return (f"--gpu-architecture={architecture}", *_OPTIONS)


def _compile(name: str, architecture: str, kind: str) -> bytes:
    """PTX or CUBIN of a source."""
    nvrtc = _nvrtc()
    options = [option.encode() for option in _options(architecture)]
    source = (KERNELS / f"{name}.cu").read_bytes()
    headers = [(KERNELS / header).read_bytes() for header in HEADERS]
    names = [header.encode() for header in HEADERS]
    create = nvrtc.nvrtcCreateProgram
    program = _checked(nvrtc, create(source, f"{name}.cu".encode(), len(headers), headers, names))
    try:
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            log = _text(nvrtc, "ProgramLog", program).rstrip(b"\0").decode(errors="replace")
            raise _refusal(f"{name}.cu for {architecture}: {status.name}\n{log}")
        return _text(nvrtc, kind, program)
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _text(nvrtc: Any, kind: str, program: Any) -> bytes:
    size = _checked(nvrtc, getattr(nvrtc, f"nvrtcGet{kind}Size")(program))
    content = bytes(size)  # NVRTC writes into it
    _checked(nvrtc, getattr(nvrtc, f"nvrtcGet{kind}")(program, content))
    return content


def _checked(nvrtc: Any, result: tuple[Any, ...]) -> Any:
    if result[0] != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise _refusal(f"NVRTC's {result[0].name}")
    return result[1] if len(result) > 1 else None


def _refusal(got: str) -> BuildError:
    return BuildError(_NEEDED_FOR, got=got, expected="NVRTC to compile the kernel")


@functools.cache
def _nvrtc_facts() -> tuple[str, frozenset[str]]:
    """Release, and the architectures that it makes code for."""
    nvrtc = _nvrtc()
    _, major, minor = nvrtc.nvrtcVersion()
    known = _checked(nvrtc, nvrtc.nvrtcGetSupportedArchs())
    return f"{major}.{minor}", frozenset(f"sm_{number}" for number in known)


def _nvrtc() -> Any:
    """The binding, with a library behind it."""
    nvrtc = require("cuda.bindings.nvrtc", extra="gpu", needed_for=_NEEDED_FOR)
    try:
        nvrtc.nvrtcVersion()
    except RuntimeError as error:  # the binding is there, the library is not
        raise MissingComponentError(
            _NEEDED_FOR,
            got=f"no NVRTC library ({error})",
            expected="it beside its Python binding",
            fix="Install it: pip install nvidia-cuda-nvrtc.",
        ) from error
    return nvrtc


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the shipped PTX.

    Returns:
        The exit code: 0, or 1 where a check failed, or the error's.
    """
    parser = argparse.ArgumentParser(prog="python -m mahtrt.cuda.compile", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    check = parser.parse_args(arguments).check
    try:
        stale = [name for name in SOURCES if not _is_fresh(name, write=not check)]
    except MahtrtError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    for name in stale:
        made = f"is not what NVRTC {nvrtc_version()} makes of {name}.cu"
        sys.stderr.write(f"{ptx_place(name)} {made if check else 'written'}\n")
    return 1 if check and stale else 0


def _is_fresh(name: str, *, write: bool) -> bool:
    """Whether the shipped PTX is what the source compiles to now; else write it where told."""
    place, ptx = ptx_place(name), compile_ptx(name)
    if place.is_file() and place.read_text(encoding="utf-8") == ptx:
        return True
    if write:
        write_text_atomic(place, ptx)
    return False


if __name__ == "__main__":
    sys.exit(main())
