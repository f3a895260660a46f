"""Facts about the machine and the installed packages, for reports and for doctor.

Reads ``/proc`` and package metadata: nothing heavy is imported.
"""

from __future__ import annotations

import math
import os
import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

# What the CPU flags of Linux mean for a network: flag -> the name reports use.
_X86_FLAGS = {
    "avx2": "avx2",
    "avx512f": "avx512",
    "avx_vnni": "vnni",
    "avx512_vnni": "vnni",
    "avx512_bf16": "bf16",
    "avx512_fp16": "fp16",
    "amx_tile": "amx",
    "amx_int8": "amx-int8",
    "amx_bf16": "amx-bf16",
    "amx_fp16": "amx-fp16",
}
_ARM_FLAGS = {
    "asimd": "neon",
    "asimddp": "dotprod",
    "i8mm": "i8mm",
    "bf16": "bf16",
    "asimdhp": "fp16",
    "sve": "sve",
    "sve2": "sve2",
}
ISA_FLAGS = _X86_FLAGS | _ARM_FLAGS

# The variable with which oneDNN, and so OpenVINO and PyTorch, takes the kernels of an older CPU.
ISA_LIMIT = "ONEDNN_MAX_CPU_ISA"
# Its values, and the flags that each adds to those of the line above it.
_ISA_LEVELS = {
    "SSE41": (),
    "AVX": (),
    "AVX2": ("avx2",),
    "AVX512_CORE": ("avx512f",),
    "AVX512_CORE_VNNI": ("avx512_vnni",),
    "AVX512_CORE_BF16": ("avx512_bf16",),
    "AVX512_CORE_FP16": ("avx512_fp16", "avx_vnni"),
    "AVX512_CORE_AMX": ("amx_tile", "amx_int8", "amx_bf16"),
    "AVX512_CORE_AMX_FP16": ("amx_fp16",),
}
# Beside them: what a CPU without AVX-512 may have.
_ISA_BRANCHES = {"AVX2_VNNI": ("avx2", "avx_vnni"), "AVX2_VNNI_2": ("avx2", "avx_vnni")}

REPORTED_PACKAGES = (
    "mahtrt",
    "numpy",
    "opencv-python-headless",
    "openvino",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnx",
    "torch",
    "timm",
    "transformers",
    "tensorrt",
    "tensorrt-rtx-cu13-bindings",
)


@dataclass(frozen=True, slots=True)
class Machine:
    """The computer a number was measured on.

    Attributes:
        cpu: Model name as the CPU gives it.
        architecture: ``x86_64``, ``aarch64``, …
        isa: Instruction sets that decide how fast a network runs, in the order of ISA_FLAGS;
            without those that ISA_LIMIT forbids. Empty where the system does not tell them.
        cores_usable: Logical CPUs this process may use.
        cpu_quota: CPUs' worth of time the container allows, None without a limit.
        memory_gib: Main memory, or the container's limit where that is lower; None if unknown.
    """

    cpu: str
    architecture: str
    isa: tuple[str, ...]
    cores_usable: int
    cpu_quota: float | None
    memory_gib: float | None
    system: str
    python: str

    @property
    def multiplies_bf16(self) -> bool:
        """Whether the CPU has products of BF16 numbers, by its flags."""
        return bool({"bf16", "amx-bf16"} & set(self.isa))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"isa": list(self.isa)}


def describe_machine(root: Path = Path("/")) -> Machine:
    """The machine this process runs on.

    Args:
        root: Where ``proc`` and ``sys`` are found; for tests.
    """
    flags = cpu_flags(root)
    return Machine(
        cpu=_cpu_name(_read(root / "proc/cpuinfo")),
        architecture=architecture(),
        isa=tuple(dict.fromkeys(name for flag, name in ISA_FLAGS.items() if flag in flags)),
        cores_usable=usable_cores(),
        cpu_quota=_cpu_quota(_read(root / "sys/fs/cgroup/cpu.max")),
        memory_gib=_memory_gib(
            _read(root / "proc/meminfo"), _read(root / "sys/fs/cgroup/memory.max")
        ),
        system=_system(),
        python=platform.python_version(),
    )


def cpu_flags(root: Path = Path("/")) -> set[str]:
    """The CPU's flags as Linux names them, less those that ISA_LIMIT forbids; else none."""
    flags = set(_field(_read(root / "proc/cpuinfo"), "flags", "Features").split())
    level = isa_limit()
    return flags - (_X86_FLAGS.keys() - flags_at(level)) if level else flags


def architecture() -> str:
    """``x86_64`` (``AMD64`` on Windows), ``aarch64`` (``arm64`` on macOS), …"""
    return platform.machine()


def isa_limit() -> str:
    """The level that ISA_LIMIT names, "" where it is unset or limits nothing that is known."""
    level = os.environ.get(ISA_LIMIT, "").upper()
    return level if level in _ISA_LEVELS or level in _ISA_BRANCHES else ""


def flags_at(level: str) -> set[str]:
    """The x86 flags that oneDNN uses at a level."""
    if level in _ISA_BRANCHES:
        return set(_ISA_BRANCHES[level])
    levels = list(_ISA_LEVELS)
    return {flag for each in levels[: levels.index(level) + 1] for flag in _ISA_LEVELS[each]}


def usable_cores() -> int:
    """Logical CPUs this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_average() -> tuple[float, float, float] | None:
    """Load over 1, 5 and 15 minutes, or None where the system has none."""
    try:
        one, five, fifteen = os.getloadavg()
    except (AttributeError, OSError):
        return None
    return round(one, 2), round(five, 2), round(fifteen, 2)


def package_version(distribution: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def package_versions() -> dict[str, str]:
    """Versions of the reported packages that are installed, and of Python."""
    found = {name: package_version(name) for name in REPORTED_PACKAGES}
    installed = {name: version for name, version in found.items() if version is not None}
    return {"python": platform.python_version(), **installed}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _field(text: str, *names: str) -> str:
    """The value of the first ``name : value`` line with one of the names."""
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon and key.strip() in names:
            return value.strip()
    return ""


def _system() -> str:
    # Without the build suffix of the kernel, which names whoever built it.
    release = ".".join(platform.release().split("-")[0].split(".")[:2])
    libc = " ".join(platform.libc_ver())
    return ", ".join(part for part in (f"{platform.system()} {release}", libc.strip()) if part)


def _cpu_name(cpuinfo: str) -> str:
    return _field(cpuinfo, "model name", "Hardware") or platform.processor() or platform.machine()


def _cpu_quota(cpu_max: str) -> float | None:
    quota, _, period = cpu_max.strip().partition(" ")
    if not quota.isdigit() or not period.isdigit():  # "max 100000", or no such file
        return None
    return round(int(quota) / int(period), 2)


def _memory_gib(meminfo: str, limit: str) -> float | None:
    total = _field(meminfo, "MemTotal").split()
    known = [int(total[0]) * 1024] if total and total[0].isdigit() else []
    if limit.strip().isdigit():
        known.append(int(limit))
    return round(min(known) / 2**30, 1) if known else None


def thread_counts(default: int, *, root: Path = Path("/")) -> list[int]:
    """Numbers of threads of an inference worth trying: one, the physical cores, the logical ones.

    Args:
        default: What the runtime takes by itself, which is left out.
        root: Where ``proc`` and ``sys`` are found; for tests.
    """
    machine = describe_machine(root)
    logical = machine.cores_usable
    if machine.cpu_quota is not None:
        logical = max(1, min(logical, math.floor(machine.cpu_quota)))
    physical = max(1, logical // _threads_per_core(root))
    return [count for count in dict.fromkeys((1, physical, logical)) if count != default]


def _threads_per_core(root: Path) -> int:
    place = root / "sys/devices/system/cpu/cpu0/topology/thread_siblings_list"
    try:
        text = place.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return 1
    return sum(_span(part) for part in text.split(",")) or 1  # "0,64" or "0-1"


def _span(part: str) -> int:
    low, dash, high = part.partition("-")
    return int(high) - int(low) + 1 if dash and low.isdigit() and high.isdigit() else 1
