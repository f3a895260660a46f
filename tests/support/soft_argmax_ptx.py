"""Makes the plugin's ``kernel.ptx`` of ``kernel.cu``: ``python soft_argmax_ptx.py``.

Needs NVRTC and its Python binding (``pip install nvidia-cuda-nvrtc cuda-bindings``), no GPU.
"""

from __future__ import annotations

import re

from mahtrt.targets.tensorrt.soft_argmax import KERNEL as PTX

SOURCE = PTX.with_suffix(".cu")

# The oldest architecture of CUDA 13; drivers compile it for every newer GPU.
ARCHITECTURE = "compute_75"
# NVRTC stamps its own, newest instruction set version, which older drivers refuse to read. The
# kernel uses nothing newer than this one, that of CUDA 11.0.
INSTRUCTION_SET = "7.0"


def compile_ptx() -> str:
    """The PTX of the kernel source, by the NVRTC that is installed."""
    from cuda.bindings import nvrtc

    def checked(result: tuple[object, ...]) -> object:
        if result[0] != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise RuntimeError(str(result[0]))
        return result[1] if len(result) > 1 else None

    program = checked(nvrtc.nvrtcCreateProgram(SOURCE.read_bytes(), b"soft_argmax.cu", 0, [], []))
    # No contraction: the compensated sums are to be computed as they are written.
    options = [f"--gpu-architecture={ARCHITECTURE}".encode(), b"--std=c++17", b"--fmad=false"]
    (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
    if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        log = b" " * checked(nvrtc.nvrtcGetProgramLogSize(program))  # type: ignore[operator]
        checked(nvrtc.nvrtcGetProgramLog(program, log))
        raise RuntimeError(log.decode())
    ptx = b" " * checked(nvrtc.nvrtcGetPTXSize(program))  # type: ignore[operator]
    checked(nvrtc.nvrtcGetPTX(program, ptx))
    text = ptx.decode().rstrip("\0\n ") + "\n"
    return re.sub(r"(?m)^\.version .*$", f".version {INSTRUCTION_SET}", text)


def compiler_of(ptx: str) -> str:
    """The release of the compiler that made some PTX, e.g. ``"13.2"``, from its header."""
    found = re.search(r"Cuda compilation tools, release ([0-9.]+)", ptx)
    assert found
    return found.group(1)


if __name__ == "__main__":
    PTX.write_text(compile_ptx())
