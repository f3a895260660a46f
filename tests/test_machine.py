from __future__ import annotations

import ctypes
import json
from pathlib import Path
from typing import Any

import pytest

from mahtrt.machine import (
    CudaProbe,
    describe_machine,
    load_average,
    package_version,
    package_versions,
    probe_cuda,
    usable_cores,
)

XEON = """\
processor\t: 0
model name\t: Intel(R) Xeon(R) Platinum 8481C
flags\t\t: fpu avx2 avx512f avx_vnni avx512_vnni avx512_bf16 amx_bf16 amx_tile amx_int8

processor\t: 1
model name\t: another
flags\t\t: fpu
"""
GRAVITON = "processor\t: 0\nFeatures\t: fp asimd asimdhp asimddp sve i8mm bf16\n"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_x86_flags_by_what_they_mean(tmp_path: Path) -> None:
    found = describe_machine(write(tmp_path, {"proc/cpuinfo": XEON}))
    assert found.cpu == "Intel(R) Xeon(R) Platinum 8481C"
    assert found.isa == ("avx2", "avx512", "vnni", "bf16", "amx", "amx-int8", "amx-bf16")


@pytest.mark.parametrize(
    ("limit", "isa"),
    [
        ("AVX2", {"avx2"}),
        ("avx2_vnni", {"avx2", "vnni"}),
        ("AVX512_CORE", {"avx2", "avx512"}),
        ("AVX512_CORE_BF16", {"avx2", "avx512", "vnni", "bf16"}),
        ("AVX512_CORE_AMX", {"avx2", "avx512", "vnni", "bf16", "amx", "amx-int8", "amx-bf16"}),
        ("SSE41", set()),
        ("DEFAULT", {"avx2", "avx512", "vnni", "bf16", "amx", "amx-int8", "amx-bf16"}),
    ],
)
def test_what_the_libraries_may_not_use_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, isa: set[str]
) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert set(describe_machine(write(tmp_path, {"proc/cpuinfo": XEON})).isa) == isa
    arm = describe_machine(write(tmp_path, {"proc/cpuinfo": GRAVITON}))
    assert "bf16" in arm.isa


def test_arm_features(tmp_path: Path) -> None:
    found = describe_machine(write(tmp_path, {"proc/cpuinfo": GRAVITON}))
    assert set(found.isa) == {"neon", "fp16", "dotprod", "sve", "i8mm", "bf16"}


@pytest.mark.parametrize(
    ("cpu_max", "quota"), [("150000 100000\n", 1.5), ("max 100000\n", None), ("", None)]
)
def test_container_quota(tmp_path: Path, cpu_max: str, quota: float | None) -> None:
    assert describe_machine(write(tmp_path, {"sys/fs/cgroup/cpu.max": cpu_max})).cpu_quota == quota


@pytest.mark.parametrize(("limit", "gib"), [("max\n", 8.0), (str(2 * 2**30), 2.0)])
def test_memory_is_what_the_container_may_use(tmp_path: Path, limit: str, gib: float) -> None:
    files = {"proc/meminfo": "MemTotal: 8388608 kB\n", "sys/fs/cgroup/memory.max": limit}
    assert describe_machine(write(tmp_path, files)).memory_gib == gib


def test_a_machine_without_proc_is_still_described(tmp_path: Path) -> None:
    found = describe_machine(tmp_path)
    assert found.cpu
    assert found.isa == ()
    assert found.memory_gib is None
    assert found.cores_usable == usable_cores() >= 1


def test_this_machine_goes_to_json() -> None:
    document = json.loads(json.dumps(describe_machine().to_dict()))
    assert {"cpu", "isa", "cores_usable", "memory_gib", "python"} <= set(document)
    load = load_average()
    assert load is None or len(load) == 3


def test_versions_of_what_is_installed() -> None:
    versions = package_versions(["numpy", "no-such-distribution"])
    assert versions["numpy"] == package_version("numpy")
    assert set(versions) == {"python", "numpy"}


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
    root = write(tmp_path, {"proc/driver/nvidia/version": text})
    assert probe_cuda(lambda name: driver, root=root) == CudaProbe(
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
