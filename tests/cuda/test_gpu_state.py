"""Clocks and throttling, from samples of what NVML and nvidia-smi answer."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from mahtrt.cuda.state import GpuState, read_gpu, state_from_csv

HEADER = (
    "name, driver_version, clocks.current.sm [MHz], clocks.mem [MHz], clocks.max.sm [MHz], "
    "clocks.max.mem [MHz], temperature.gpu, power.draw [W], power.limit [W], memory.used [MiB], "
    "memory.total [MiB], pstate, clocks_event_reasons.active"
).replace("clocks.current.sm", "clocks.sm")
BUSY = (
    "NVIDIA H200, 580.159.04, 1980, 3201, 1980, 3201, 41, 312.55, 700.00, 1033, 143771, P0, "
    "0x0000000000000004"
)
SHY = "NVIDIA T4, 470.1, 300, 405, 1590, 5001, [N/A], [Not Supported], 70.00, 0, 15109, P8, 0x1"


class Nvml:
    """The calls of pynvml that are used; ``refuses`` raise, as on a card that does not tell."""

    __version__ = "13.580.82"

    def __init__(self, *refuses: str) -> None:
        self.refuses, self.opened, self.asked = refuses, 0, ""

    def __getattr__(self, name: str) -> Any:
        if name in self.refuses:
            raise AttributeError(name)
        answers = {
            "nvmlDeviceGetName": b"NVIDIA H200",
            "nvmlSystemGetDriverVersion": "580.159.04",
            "nvmlSystemGetCudaDriverVersion_v2": 13000,
            "nvmlDeviceGetClockInfo": 1755,
            "nvmlDeviceGetMaxClockInfo": 1980,
            "nvmlDeviceGetTemperature": 33,
            "nvmlDeviceGetPowerUsage": 78_250,
            "nvmlDeviceGetEnforcedPowerLimit": 700_000,
            "nvmlDeviceGetCurrentClocksEventReasons": 0x21,
            "nvmlDeviceGetCurrentClocksThrottleReasons": 0x8,
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=5 << 20, total=9 << 20),
            "nvmlDeviceGetPerformanceState": 0,
        }
        return lambda *_: answers[name]

    def nvmlInit(self) -> None:  # noqa: N802
        self.opened += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.opened -= 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        self.asked = f"index {index}"
        return "gpu"

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        self.asked = uuid
        return "gpu"


def test_nvml() -> None:
    nvml = Nvml()
    state = read_gpu({}, load=lambda: nvml)
    assert state == GpuState(
        "nvidia-ml-py 13.580.82", "NVIDIA H200", "580.159.04", "13.0", 1755, 1755, 1980, 1980, 33,
        78.25, 700.0, 5, 9, "P0", ("idle", "software thermal slowdown"),
    )  # fmt: skip
    assert state.throttled_by == ("software thermal slowdown",)
    assert str(state) == (
        "SM 1755 of 1980 MHz, memory 1755 of 1980 MHz, 33 °C, 78.25 of 700 W, slowed by software "
        "thermal slowdown"
    )
    assert (nvml.opened, nvml.asked) == (0, "index 0")


def test_what_a_card_does_not_tell_is_left_out() -> None:
    nvml = Nvml(
        "nvmlDeviceGetPowerUsage",
        "nvmlDeviceGetMemoryInfo",
        "nvmlDeviceGetCurrentClocksEventReasons",  # an older package
    )
    state = read_gpu({"CUDA_VISIBLE_DEVICES": "GPU-7a,GPU-7b"}, load=lambda: nvml)
    assert state is not None
    assert (state.power_w, state.used_mib, state.reasons) == (None, None, ("hardware slowdown",))
    assert nvml.asked == "GPU-7a"


def test_nvidia_smi_where_nvml_is_missing() -> None:
    asked: list[Sequence[str]] = []

    def run(command: Sequence[str]) -> str:
        asked.append(command)
        if any("clocks_event_reasons" in part for part in command):  # a driver before 535
            raise subprocess.CalledProcessError(2, command)
        return f"{HEADER.replace('event', 'throttle')}\n{BUSY}\n"

    def load() -> Any:
        raise ModuleNotFoundError("pynvml")

    state = read_gpu({"CUDA_VISIBLE_DEVICES": "1"}, load=load, run=run)
    assert state == GpuState(
        "nvidia-smi", "NVIDIA H200", "580.159.04", "", 1980, 3201, 1980, 3201, 41, 312.55, 700.0,
        1033, 143771, "P0", ("software power cap",),
    )  # fmt: skip
    assert [command[1] for command in asked] == ["--id=1"] * 2


def test_an_idle_card_that_tells_little() -> None:
    state = state_from_csv(f"{HEADER}\n{SHY}\n")
    assert (state.temperature_c, state.power_w, state.power_limit_w) == (None, None, 70.0)
    assert state.throttled_by == ()
    assert str(state) == "SM 300 of 1590 MHz, memory 405 of 5001 MHz, not throttled"


@pytest.mark.parametrize("text", ["", "No devices were found\n", f"{HEADER}\n"])
def test_an_answer_without_a_card(text: str) -> None:
    with pytest.raises(ValueError, match="nvidia-smi"):
        state_from_csv(text)
    assert read_gpu({}, load=lambda: 1 / 0, run=lambda _: text) is None


def test_a_machine_that_has_neither() -> None:
    def run(command: Sequence[str]) -> str:
        raise FileNotFoundError(command[0])

    assert read_gpu({}, load=lambda: 1 / 0, run=run) is None
