"""What the CUDA driver says, by a driver that is made up."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from mahtrt.cuda.probe import CudaProbe, probe_cuda


class FakeDriver:
    """libcuda as ctypes shows it: results through pointers, 0 for success."""

    def __init__(self, devices: dict[str, tuple[int, int]], init: int = 0) -> None:
        self.devices, self.init = list(devices.items()), init

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return self.init

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
        version._obj.value = 13010
        return 0

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(self.devices)
        return 0

    def cuDeviceGet(self, device: Any, ordinal: int) -> int:  # noqa: N802
        device._obj.value = ordinal
        return 0

    def cuDeviceGetName(self, name: Any, size: int, device: ctypes.c_int) -> int:  # noqa: N802
        name.value = self.devices[device.value][0].encode()
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: ctypes.c_int) -> int:  # noqa: N802
        value._obj.value = self.devices[device.value][1][attribute - 75]
        return 0


def test_probe_of_a_driver_with_devices(tmp_path: Path) -> None:
    driver = FakeDriver({"NVIDIA H100": (9, 0), "NVIDIA RTX 5090": (12, 0)})
    text = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\nGCC"
    place = tmp_path / "proc/driver/nvidia/version"
    place.parent.mkdir(parents=True)
    place.write_text(text)
    assert probe_cuda(lambda name: driver, root=tmp_path) == CudaProbe(
        version="13.1",
        devices=("NVIDIA H100 (SM 9.0)", "NVIDIA RTX 5090 (SM 12.0)"),
        names=("NVIDIA H100", "NVIDIA RTX 5090"),
        capabilities=("SM90", "SM120"),
        driver="580.65.06",
    )


def test_probe_says_why_there_is_no_device(tmp_path: Path) -> None:
    def absent(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    assert "libcuda.so.1" in probe_cuda(absent).problem
    assert "cuInit fails with 803" in probe_cuda(lambda name: FakeDriver({}, init=803)).problem
    assert probe_cuda(lambda name: FakeDriver({})).problem == "the driver sees no device"
    assert probe_cuda(absent, root=tmp_path).driver == ""


def test_a_failure_of_the_driver_has_its_name() -> None:
    class NamingDriver(FakeDriver):
        def cuGetErrorName(self, code: int, name: Any) -> int:  # noqa: N802
            name._obj.value = b"CUDA_ERROR_NO_DEVICE"
            return 0

    problem = probe_cuda(lambda name: NamingDriver({}, init=100)).problem
    assert problem.endswith("cuInit fails with 100 (CUDA_ERROR_NO_DEVICE)")
