"""docs/c-library.md: every block of it is compiled or run, and what it promises is so."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from native_library import NATIVE, compiler, program, run
from native_samples import (
    STRICT,
    bundle_of_pairs,
    library_folder,
    openvino_folder,
    pkg_config,
    sources,
)
from native_wheel import unpacked_wheel

PAGE = (NATIVE.parent / "docs" / "c-library.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
HERE = Path(__file__).parent
INCLUDES = ("mahtrt.h", "math.h", "pthread.h", "stdio.h", "stdlib.h")
# Packages for pkg-config that a program in C++ needs besides ours.
PACKAGES = {
    "opencv2": "opencv4",
    "gst/": "gstreamer-app-1.0 gstreamer-video-1.0",
}

pytestmark = pytest.mark.slow


def blocks(language: str) -> list[str]:
    found = [text for name, text in BLOCKS if name == language]
    assert found
    return found


def test_no_block_is_of_a_language_that_no_test_knows() -> None:
    assert {name for name, _ in BLOCKS} == {"bash", "c", "cpp", "text"}


def test_the_functions_in_c_do_what_is_said_of_them(tiny_bundle: Path, tmp_path: Path) -> None:
    functions = [text for text in blocks("c") if "int main(" not in text]
    includes = [f"#include <{name}>\n" for name in INCLUDES]
    source, program_path = tmp_path / "page.c", tmp_path / "page"
    source.write_text("".join([*includes, *functions, (HERE / "page_main.c").read_text()]))
    cc = compiler("CC", "cc", "gcc", "clang")
    libraries = ("-lm", "-pthread", *pkg_config())
    run(cc, "-std=c99", *STRICT, source, "-o", program_path, *libraries)
    maps = bundle_of_pairs(tmp_path / "maps.mahtrt")
    told = run(program_path, tiny_bundle, maps, openvino_folder())
    assert f"openvino-fp32 on cpu, by {openvino_folder()}" in told
    (error,) = (text for text in blocks("text") if text.startswith("image:"))
    assert error in told
    assert re.search(r"^edema: 0\.\d{3}", told, re.MULTILINE)


@pytest.mark.parametrize("text", [text for name, text in BLOCKS if name == "cpp"])
def test_the_programs_in_cpp_compile(text: str, tmp_path: Path) -> None:
    """Against the headers of OpenCV and GStreamer where they are, else against stand-ins."""
    (tmp_path / "program.cpp").write_text(text)
    wanted = next((each for part, each in PACKAGES.items() if f"<{part}" in text), "")
    flags = [f"-I{HERE / 'stand_in'}"]
    if wanted and program("pkg-config"):
        found = subprocess.run(
            ["pkg-config", "--cflags", *wanted.split()], capture_output=True, text=True, check=False
        )
        if found.returncode == 0:  # as system headers: their warnings are not ours
            flags = found.stdout.replace("-I", "-isystem ").split()
    cxx = compiler("CXX", "c++", "g++", "clang++")
    ours = [flag for flag in pkg_config() if flag.startswith("-I")]
    strict = [flag for flag in STRICT if flag != "-pedantic"]  # GStreamer's macros are not
    run(cxx, "-std=c++17", *strict, "-fsyntax-only", tmp_path / "program.cpp", *ours, *flags)


def test_the_program_of_the_other_languages_runs(tiny_bundle: Path, tmp_path: Path) -> None:
    (text,) = (each for each in blocks("cpp") if "std::array" in each)
    (tmp_path / "program.cpp").write_text(text)
    cxx = compiler("CXX", "c++", "g++", "clang++")
    place = tmp_path / "program"
    run(cxx, "-std=c++17", *STRICT, tmp_path / "program.cpp", "-o", place, *pkg_config())
    told = run(place, tiny_bundle, MAHTRT_RUNTIME_DIR=openvino_folder())
    assert len(told.splitlines()) == 3


def runnable() -> list[str]:
    """The commands of the page, without those whose compiler is not here."""
    absent = [name for name in ("mcs", "mono", "cargo") if program(name) is None]
    return [text for text in blocks("bash") if not any(f"{name} " in text for name in absent)]


def folder_of_programs(folder: Path) -> Path:
    """``python`` is this one; ``pip`` installs nothing, since the wheel is there already."""
    folder.mkdir()
    for name, body in [
        ("python", f'exec {shlex.quote(sys.executable)} "$@"'),
        ("pip", '[ "$*" = "install ./native openvino" ]'),
    ]:
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    return folder


def test_the_commands_work_one_after_the_other(tiny_bundle: Path, tmp_path: Path) -> None:
    """In one folder, as the page tells them."""
    programs = folder_of_programs(tmp_path / "programs")
    (tmp_path / "first.c").write_text(blocks("c")[0])
    shutil.copytree(tiny_bundle, tmp_path / "demo.mahtrt")
    assert cv2.imwrite(str(tmp_path / "image.png"), np.zeros((50, 40), np.uint8))
    (tmp_path / "native").symlink_to(NATIVE)
    shutil.copytree(sources(), tmp_path / "samples")
    # The archive runs where there is nothing: no Python, no PATH, no folder that is named.
    alone = "env -i libmahtrt-*/bin/landmarks demo.mahtrt image.png"
    script = "\n".join([f"cd {shlex.quote(str(tmp_path))}", *runnable(), alone])
    told = run(
        *("sh", "-euc", script),
        PATH=f"{programs}:{os.environ['PATH']}:{Path(sys.executable).parent}",
        PYTHONPATH=str(unpacked_wheel()),
        LIBRARIES=str(library_folder()),
        MAHTRT_LIBRARY=str(library_folder() / "libmahtrt.so.1"),
        MAHTRT_RUNTIME_DIR=openvino_folder(),
        CMAKE_BUILD_TYPE="None",  # neither optimised nor with names for a debugger: sooner
    )
    assert re.search(r"^red: \d+\.\d\d \d+\.\d\d$", told, re.MULTILINE)
    ran = [text for text in [*runnable(), alone] if "image.png" in text]
    assert told.count('"engine": "openvino-fp32"') == len(ran) >= 3
