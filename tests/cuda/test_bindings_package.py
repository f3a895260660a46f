"""The real ``cuda-bindings`` hands the driver what it is given: tried on a driver of our own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from programs import run_python

SUPPORT = Path(__file__).parents[1] / "support"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the driver's library is Linux's")
def test_arguments_and_answers_pass_the_package(tmp_path: Path) -> None:
    pytest.importorskip("cuda.bindings")
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler (g++, clang++) to make a driver with")
    library = tmp_path / "libcuda.so.1"
    command = [compiler, "-shared", "-fPIC", "-o", str(library), str(SUPPORT / "stub_libcuda.cpp")]
    subprocess.run(command, check=True)
    before = os.environ.get("LD_LIBRARY_PATH", "")
    ended = run_python(
        "-W",
        "error",
        SUPPORT / "driver_story.py",
        LD_LIBRARY_PATH=f"{tmp_path}:{before}",
        PYTHONPATH=os.pathsep.join((str(SUPPORT.parents[1]), os.environ.get("PYTHONPATH", ""))),
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("cuda-bindings 1")
