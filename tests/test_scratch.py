"""Temporary folders of processes that are gone are removed, those of living ones are not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mahtrt import scratch
from mahtrt.atomic import write_text_atomic
from mahtrt.scratch import scratch_folder, sweep

HOLD = """
import sys, time
from pathlib import Path
from mahtrt.scratch import scratch_folder
with scratch_folder(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("x")
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _first_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "_swept", set())


def test_the_folder_of_a_killed_process_goes_with_the_next_write(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        sweep(tmp_path)
        assert (left / "half").exists(), "its owner lives"
        process.send_signal(signal.SIGKILL)
    assert left.exists()
    write_text_atomic(tmp_path / "a.txt", "x")
    assert [place.name for place in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_of_this_process_is_not_swept(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as folder:
        sweep(tmp_path)
        assert folder.is_dir()
        assert folder.stat().st_mode & 0o777 == 0o700
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_another_machine_has_to_be_old(tmp_path: Path) -> None:
    young, old = (tmp_path / f".mahtrt-{'ab' * 6}-0000000{i}.tmp" for i in range(2))
    for folder in (young, old):
        folder.mkdir()
    before = time.time() - 25 * 3600
    os.utime(old, (before, before))
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [young]


def test_only_folders_that_are_ours_by_name_and_kind_are_swept(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far/keep").write_text("x")
    with scratch_folder(tmp_path) as folder:
        name = folder.name
    (tmp_path / name).symlink_to("far")
    (tmp_path / ".mahtrt-notes.tmp").mkdir()
    sweep(tmp_path)
    assert (tmp_path / "far/keep").exists()
    assert len(list(tmp_path.iterdir())) == 3


def test_not_supported_may_have_two_numbers(tmp_path: Path) -> None:
    """As on macOS."""
    code = """
import errno, pathlib, sys
errno.ENOTSUP = 45_000
from mahtrt import scratch

def flock(*_):
    raise OSError(45_000, "no locks")

scratch.fcntl.flock = flock
with scratch.scratch_folder(pathlib.Path(sys.argv[1])) as folder:
    print(folder.is_dir())
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "True\n", done.stderr


def test_without_locks_the_name_protects_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "fcntl", None)
    with scratch_folder(tmp_path) as folder:
        monkeypatch.undo()
        sweep(tmp_path)
        assert folder.is_dir()
    assert list(tmp_path.iterdir()) == []
