"""What a GPU does at this moment: clocks, what throttles them, power, temperature, memory.

Read through NVML where its Python package (``nvidia-ml-py``) is installed, else through
``nvidia-smi``. A time on a GPU says little without its clocks, so a bench reads this before and
after. Sources: NVML API reference (``nvmlClocksEventReasons``) and ``nvidia-smi --help-query-gpu``.
"""

from __future__ import annotations

import contextlib
import csv
import importlib
import importlib.util
import io
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# nvml.h, nvmlClocksEventReason*: bit -> name. Those of SLOWS take speed that was to be had.
REASONS = {
    0x001: "idle",
    0x002: "application clocks setting",
    0x004: "software power cap",
    0x008: "hardware slowdown",
    0x010: "sync boost",
    0x020: "software thermal slowdown",
    0x040: "hardware thermal slowdown",
    0x080: "hardware power brake",
    0x100: "display clock setting",
}
SLOWS = frozenset(REASONS.values()) - {"idle", "display clock setting"}
_SMI_S = 20.0
# Our name -> nvidia-smi's; the reasons' field was renamed with driver 535.
_FIELDS = {
    "name": "name",
    "driver": "driver_version",
    "sm_mhz": "clocks.sm",
    "memory_mhz": "clocks.mem",
    "max_sm_mhz": "clocks.max.sm",
    "max_memory_mhz": "clocks.max.mem",
    "temperature_c": "temperature.gpu",
    "power_w": "power.draw",
    "power_limit_w": "power.limit",
    "used_mib": "memory.used",
    "total_mib": "memory.total",
    "performance_state": "pstate",
}
_REASON_FIELDS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")


@dataclass(frozen=True, slots=True)
class GpuState:
    """One GPU at one moment; None and "" are what it does not tell.

    Attributes:
        source: What was asked, ``nvidia-ml-py 13.580.82`` or ``nvidia-smi``.
        cuda: Version of CUDA that the driver supports.
        sm_mhz, memory_mhz: Clocks now; ``max_…`` the highest that there are.
        reasons: What keeps the clocks where they are, by the names of ``REASONS``.
        power_limit_w: As it is enforced.
        used_mib, total_mib: Memory of the card, of all programs.
        performance_state: ``P0`` is the fastest.
    """

    source: str
    name: str = ""
    driver: str = ""
    cuda: str = ""
    sm_mhz: int | None = None
    memory_mhz: int | None = None
    max_sm_mhz: int | None = None
    max_memory_mhz: int | None = None
    temperature_c: int | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    used_mib: int | None = None
    total_mib: int | None = None
    performance_state: str = ""
    reasons: tuple[str, ...] = ()

    @property
    def throttled_by(self) -> tuple[str, ...]:
        """Those of the reasons that take speed."""
        return tuple(reason for reason in self.reasons if reason in SLOWS)

    def __str__(self) -> str:
        facts = [
            _said("SM", self.sm_mhz, "MHz", self.max_sm_mhz),
            _said("memory", self.memory_mhz, "MHz", self.max_memory_mhz),
            _said("", self.temperature_c, "°C"),
            _said("", self.power_w, "W", self.power_limit_w),
            f"slowed by {', '.join(self.throttled_by)}" if self.throttled_by else "not throttled",
        ]
        return ", ".join(fact for fact in facts if fact)


def read_gpu(
    environment: Mapping[str, str] = os.environ,
    load: Callable[[], Any] | None = None,
    run: Callable[[Sequence[str]], str] | None = None,
) -> GpuState | None:
    """The GPU that a program here takes first; None where nothing can be asked.

    That is the first of ``CUDA_VISIBLE_DEVICES``, else number 0. Of several different cards CUDA
    numbers the fastest 0 and NVML the first on the bus, unless ``CUDA_DEVICE_ORDER=PCI_BUS_ID``.

    Args:
        load: Gives the module ``pynvml``; for tests.
        run: Runs a command and gives its output; for tests.
    """
    which = environment.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0].strip() or "0"
    with contextlib.suppress(Exception):  # whatever is missing or refused, there is another way
        nvml = (load or _load_nvml)()
        return _from_nvml(nvml, which)
    with contextlib.suppress(OSError, subprocess.SubprocessError, ValueError):
        return _from_smi(run or _run, which)
    return None


def _load_nvml() -> Any:
    if importlib.util.find_spec("pynvml") is None:
        raise ModuleNotFoundError("pynvml")
    return importlib.import_module("pynvml")


def _from_nvml(nvml: Any, which: str) -> GpuState:
    nvml.nvmlInit()
    try:
        by_uuid = not which.isdigit()
        find = nvml.nvmlDeviceGetHandleByUUID if by_uuid else nvml.nvmlDeviceGetHandleByIndex
        return _told_by_nvml(nvml, find(which if by_uuid else int(which)))
    finally:
        nvml.nvmlShutdown()


def _told_by_nvml(nvml: Any, gpu: Any) -> GpuState:
    def ask(name: str, *arguments: Any) -> Any:
        """None where this card, driver or package does not tell."""
        with contextlib.suppress(Exception):
            return getattr(nvml, name)(*arguments)
        return None

    sm, memory = 1, 2  # NVML_CLOCK_SM, NVML_CLOCK_MEM
    version = ask("nvmlSystemGetCudaDriverVersion_v2")
    reasons = ask("nvmlDeviceGetCurrentClocksEventReasons", gpu)
    if reasons is None:
        reasons = ask("nvmlDeviceGetCurrentClocksThrottleReasons", gpu)
    held = ask("nvmlDeviceGetMemoryInfo", gpu)
    state = ask("nvmlDeviceGetPerformanceState", gpu)
    return GpuState(
        source=f"nvidia-ml-py {getattr(nvml, '__version__', '')}".strip(),
        name=_text(ask("nvmlDeviceGetName", gpu)),
        driver=_text(ask("nvmlSystemGetDriverVersion")),
        cuda=f"{version // 1000}.{version % 1000 // 10}" if version else "",
        sm_mhz=ask("nvmlDeviceGetClockInfo", gpu, sm),
        memory_mhz=ask("nvmlDeviceGetClockInfo", gpu, memory),
        max_sm_mhz=ask("nvmlDeviceGetMaxClockInfo", gpu, sm),
        max_memory_mhz=ask("nvmlDeviceGetMaxClockInfo", gpu, memory),
        temperature_c=ask("nvmlDeviceGetTemperature", gpu, 0),  # NVML_TEMPERATURE_GPU
        power_w=_watts(ask("nvmlDeviceGetPowerUsage", gpu)),
        power_limit_w=_watts(ask("nvmlDeviceGetEnforcedPowerLimit", gpu)),
        used_mib=None if held is None else int(held.used) >> 20,
        total_mib=None if held is None else int(held.total) >> 20,
        performance_state="" if state is None else f"P{state}",
        reasons=_reasons(reasons or 0),
    )


def _from_smi(run: Callable[[Sequence[str]], str], which: str) -> GpuState:
    for reasons in _REASON_FIELDS:
        fields = ",".join([*_FIELDS.values(), reasons])
        asked = ["nvidia-smi", f"--id={which}", f"--query-gpu={fields}", "--format=csv,nounits"]
        with contextlib.suppress(subprocess.CalledProcessError, ValueError):
            return state_from_csv(run(asked))
    raise ValueError("nvidia-smi does not answer")


def state_from_csv(text: str) -> GpuState:
    """The first card of ``nvidia-smi --query-gpu=… --format=csv,nounits``.

    Raises:
        ValueError: There is none.
    """
    rows = list(csv.reader(io.StringIO(text), skipinitialspace=True))
    if len(rows) < 2 or len(rows[0]) != len(rows[1]):
        raise ValueError(f"nvidia-smi: {text!r}")
    # A header may have a unit behind the name: "power.draw [W]".
    found = {key.partition(" ")[0]: value for key, value in zip(*rows[:2], strict=True)}
    given: dict[str, Any] = {}
    for ours, theirs in _FIELDS.items():
        value = found.get(theirs, "")
        if value.startswith("["):  # [N/A], [Not Supported], [Unknown Error]
            continue
        if ours in ("name", "driver", "performance_state"):
            given[ours] = value
        elif value:
            given[ours] = float(value) if ours.startswith("power") else int(float(value))
    active = next((found[name] for name in _REASON_FIELDS if name in found), "")
    bits = int(active, 16) if active.startswith("0x") else 0
    return GpuState(source="nvidia-smi", **given, reasons=_reasons(bits))


def _run(command: Sequence[str]) -> str:
    ended = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=_SMI_S,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return ended.stdout


def _reasons(bits: int) -> tuple[str, ...]:
    return tuple(name for bit, name in REASONS.items() if bits & bit)


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else milliwatts / 1000


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")


def _said(what: str, value: float | None, unit: str, most: float | None = None) -> str:
    if value is None:
        return ""
    of = "" if most is None else f" of {most:g}"
    return f"{what} {value:g}{of} {unit}".strip()
