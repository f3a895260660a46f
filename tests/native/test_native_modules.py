"""Modules for TensorRT: which are built from which headers, and what they need to be loaded."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from native_library import NATIVE, compiler, needed, run

FAKE = NATIVE / "tests" / "fake_nvinfer" / "NvInferRuntime.h"


def headers(folder: Path, major: int, minor: int, kind: str = "ENTERPRISE") -> Path:
    """Headers of our own that tell a version as NVIDIA's do."""
    folder.mkdir()
    rtx = int(kind == "RTX")
    (folder / "NvInferVersion.h").write_text(
        f"#define TRT_MAJOR_{kind} {major}\n#define TRT_MINOR_{kind} {minor}\n"
        f"#define NV_TENSORRT_MAJOR TRT_MAJOR_{kind} //!< major\n"
        f"#define NV_TENSORRT_MINOR TRT_MINOR_{kind} //!< minor\n"
    )
    (folder / "NvInferRuntime.h").write_text(
        f"#define FAKE_MAJOR {major}\n#define FAKE_MINOR {minor}\n#define FAKE_RTX {rtx}\n"
        f'#include "{FAKE}"\n'
    )
    (folder / "cuda_runtime_api.h").touch()
    return folder


def configure(build: Path, **definitions: object) -> subprocess.CompletedProcess[str]:
    command = [needed("cmake"), "-S", str(NATIVE), "-B", str(build)]
    command += [f"-DCMAKE_CXX_COMPILER={compiler('CXX', 'c++', 'g++', 'clang++')}"]
    command += [f"-D{name}={value}" for name, value in definitions.items()]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_one_for_each_binary_interface(tmp_path: Path) -> None:
    ten, eleven = headers(tmp_path / "ten", 10, 16), headers(tmp_path / "eleven", 11, 4)
    rtx = headers(tmp_path / "rtx", 1, 7, "RTX")
    build = tmp_path / "build"
    done = configure(
        build,
        MAHTRT_TENSORRT_INCLUDE=f"{ten};{eleven}",
        MAHTRT_TENSORRT_RTX_INCLUDE=rtx,
        MAHTRT_CUDA_INCLUDE=ten,
    )
    assert done.returncode == 0, done.stderr
    names = ["tensorrt10", "tensorrt11", "tensorrt_rtx1.7"]
    targets = [f"mahtrt_{name}" for name in names]
    run(needed("cmake"), "--build", build, "--target", *targets, "--parallel", "2")
    for name in names:
        module = build / f"libmahtrt_{name}.so"
        dynamic = run(needed("readelf"), "-d", module)
        assert "nvinfer" not in dynamic
        assert "stdc++" not in dynamic
        exported = run(needed("nm"), "-D", "--defined-only", module).split()[2::3]
        assert exported == ["mahtrt_tensorrt_table_1"]


@pytest.mark.parametrize(
    ("major", "minor", "part"),
    [(8, 6, "got TensorRT 8.6, expected 10.12"), (10, 11, "got TensorRT 10.11, expected 10.12")],
)
def test_old_headers(tmp_path: Path, major: int, minor: int, part: str) -> None:
    folder = headers(tmp_path / "old", major, minor)
    named = {"MAHTRT_TENSORRT_INCLUDE": folder, "MAHTRT_CUDA_INCLUDE": folder}
    done = configure(tmp_path / "named", **named)
    assert done.returncode != 0
    assert part in " ".join(done.stderr.split())
    done = configure(tmp_path / "found", MAHTRT_TENSORRT_HEADERS=folder, MAHTRT_CUDA_INCLUDE=folder)
    assert done.returncode == 0, done.stderr
    assert part in done.stdout


def test_a_folder_without_headers(tmp_path: Path) -> None:
    done = configure(tmp_path / "build", MAHTRT_TENSORRT_INCLUDE=tmp_path)
    assert done.returncode != 0
    assert "no NvInferRuntime.h" in " ".join(done.stderr.split())
