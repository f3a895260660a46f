"""CPUs that tests run as: what the code believes, and which kernels the libraries take.

A belief goes both ways: any CPU can be believed in on any machine. Kernels only go down: where a
machine has less than a CPU of this table, the libraries compute with what there is. Where OpenVINO
is not installed, nobody asks it what it believes.

``MAHTRT_TEST_CPU=avx2 pytest ...`` runs all tests as one of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import mahtrt.machine
from mahtrt.machine import ISA_LIMIT, describe_machine, flags_at, isa_limit
from mahtrt.targets.openvino.run import cpu_device
from mahtrt.targets.target import has_module

FORCED = "MAHTRT_TEST_CPU"
ROOT = Path("/")


@dataclass(frozen=True, slots=True)
class Cpu:
    """A kind of CPU.

    Attributes:
        architecture: As ``platform.machine()`` tells it.
        flags: As ``/proc/cpuinfo`` has them; "" where there is no such file.
        bf16: Whether it multiplies BF16, so that OpenVINO computes in it.
        weight_bits: Bits of INT8 weights that it multiplies without saturating.
        level: oneDNN's limit that leaves these kernels, "" where no limit does.
        aten: PyTorch's, likewise.
    """

    architecture: str
    flags: str
    bf16: bool
    weight_bits: int
    level: str = ""
    aten: str = "avx512"

    @property
    def environment(self) -> dict[str, str]:
        """What makes the libraries of a new process take this CPU's kernels."""
        return {ISA_LIMIT: self.level, "ATEN_CPU_CAPABILITY": self.aten} if self.level else {}


_AVX512 = "avx2 avx512f"
_BF16 = f"{_AVX512} avx512_vnni avx512_bf16"
CPUS = {
    "avx2": Cpu("x86_64", "avx2", False, 7, "AVX2", "avx2"),
    "avx512": Cpu("x86_64", _AVX512, False, 7, "AVX512_CORE"),
    "vnni": Cpu("x86_64", f"{_AVX512} avx512_vnni", False, 8, "AVX512_CORE_VNNI"),
    "bf16": Cpu("x86_64", _BF16, True, 8, "AVX512_CORE_BF16"),
    "amx": Cpu("x86_64", f"{_BF16} avx_vnni avx512_fp16 amx_tile amx_int8 amx_bf16", True, 8),
    "avx-vnni": Cpu("x86_64", "avx2 avx_vnni", False, 8),
    "arm": Cpu("aarch64", "fp asimd asimdhp asimddp", False, 8),
    # OpenVINO has no BF16 kernels there, so the CPU's own are of no use.
    "arm-bf16": Cpu("aarch64", "fp asimd asimdhp asimddp sve i8mm bf16", False, 8),
    "mac": Cpu("arm64", "", False, 8),
    "windows": Cpu("AMD64", "", False, 7),
}
# Those whose kernels a limit leaves, from the oldest on.
LEVELS = [name for name, cpu in CPUS.items() if cpu.level]
# What this machine is without any belief.
ISA_HERE = frozenset(describe_machine().isa)
# OpenVINO computes BF16 with AVX-512, whether the CPU multiplies it or not.
OPENVINO_ROUNDS = "avx512" in ISA_HERE


def isa_of(cpu: Cpu) -> tuple[str, ...]:
    """The instruction sets that a belief in it gives."""
    with pytest.MonkeyPatch.context() as patch:
        _force(patch, cpu)
        return describe_machine().isa


@contextmanager
def believing(name: str) -> Iterator[Cpu]:
    """Let mahtrt take this machine for another; the kernels stay what they are.

    Where a limit forbids the libraries BF16, it cannot be believed in: OpenVINO would be asked for
    what it does not find.
    """
    cpu, level = CPUS[name], isa_limit()
    if cpu.bf16 and level and "avx512_bf16" not in flags_at(level):
        pytest.skip(f"{ISA_LIMIT}={level} forbids the libraries BF16")
    try:
        with pytest.MonkeyPatch.context() as patch:
            _force(patch, cpu)
            _force_openvino(patch, cpu)
            yield cpu
    finally:
        cpu_device.cache_clear()


@pytest.fixture
def cpu() -> Iterator[Callable[[str], Cpu]]:
    """``cpu("avx2")`` takes this machine for another until the test ends."""
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(believing(name))


def pytest_configure() -> None:
    """Before anything is computed: the libraries read their limits once."""
    os.environ.update(CPUS[os.environ[FORCED]].environment if FORCED in os.environ else {})


@pytest.fixture(scope="session", autouse=True)
def _forced() -> Iterator[None]:
    """All tests run as the CPU that FORCED names."""
    with believing(os.environ[FORCED]) if FORCED in os.environ else nullcontext():
        yield


def _force(patch: pytest.MonkeyPatch, cpu: Cpu) -> None:
    read, flags = mahtrt.machine.cpu_flags, set(cpu.flags.split())
    patch.setattr(
        mahtrt.machine, "cpu_flags", lambda root=ROOT: flags if root == ROOT else read(root)
    )
    patch.setattr(mahtrt.machine, "architecture", lambda: cpu.architecture)


def _force_openvino(patch: pytest.MonkeyPatch, cpu: Cpu) -> None:
    if not has_module("openvino"):
        return
    import openvino

    get, listed = openvino.Core.get_property, "avx512f" in cpu.flags

    def get_property(core: Any, *arguments: str) -> Any:
        found = get(core, *arguments)
        if arguments[-1] != "OPTIMIZATION_CAPABILITIES":
            return found
        return [each for each in found if each != "BF16"] + ["BF16"] * listed

    patch.setattr(openvino.Core, "get_property", get_property)
    cpu_device.cache_clear()
