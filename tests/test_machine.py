from __future__ import annotations

import json
from pathlib import Path

import pytest

from mahtrt.machine import (
    ISA_LIMIT,
    REPORTED_PACKAGES,
    describe_machine,
    load_average,
    package_version,
    package_versions,
    thread_counts,
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


def test_x86_flags_by_what_they_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ISA_LIMIT, raising=False)
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
    monkeypatch.setenv(ISA_LIMIT, limit)
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
    versions = package_versions()
    assert versions["numpy"] == package_version("numpy")
    assert {"python", "numpy"} <= set(versions) <= {"python", *REPORTED_PACKAGES}
    assert all(versions.values())


@pytest.mark.parametrize(
    ("siblings", "usable", "quota", "own", "expected"),
    [
        ("0,4\n", 8, "max 100000", 4, [1, 8]),
        ("0-1\n", 8, "max 100000", 8, [1, 4]),
        ("0\n", 8, "max 100000", 8, [1]),
        ("0\n", 8, "250000 100000", 8, [1, 2]),
        ("0\n", 1, "max 100000", 1, []),
        (None, 2, "50000 100000", 2, [1]),
        ("?", 2, "max 100000", 2, [1]),
    ],
)
def test_thread_counts_are_those_of_the_machine(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    siblings: str | None,
    usable: int,
    quota: str,
    own: int,
    expected: list[int],
) -> None:
    monkeypatch.setattr("mahtrt.machine.usable_cores", lambda: usable)
    for place, text in (
        ("sys/fs/cgroup/cpu.max", quota),
        ("sys/devices/system/cpu/cpu0/topology/thread_siblings_list", siblings),
    ):
        if text is not None:
            (tmp_path / place).parent.mkdir(parents=True)
            (tmp_path / place).write_text(text)
    assert thread_counts(own, root=tmp_path) == expected
