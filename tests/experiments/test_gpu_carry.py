"""The script that collects wheels, with a pip that only makes files."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "experiments/gpu_carry.sh"
# Makes a file of 2 MiB named after the package; one cannot be had.
PIP = """#!/bin/sh
for name; do :; done
while [ "$1" != --dest ]; do shift; done
[ "$name" = hypothesis ] && { echo "ERROR: no version of $name" >&2; exit 1; }
head -c 2097152 /dev/zero > "$2/$name-1.0-py3-none-any.whl"
"""


def carry(tmp_path: Path, *arguments: str, limit: str = "100") -> subprocess.CompletedProcess[str]:
    pip = tmp_path / "python"
    pip.write_text(PIP)
    pip.chmod(0o755)
    environment = {**os.environ, "PYTHON": str(pip), "LIMIT_MIB": limit}
    return subprocess.run(
        ["sh", str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


def test_what_can_be_had_is_collected(tmp_path: Path) -> None:
    ended = carry(tmp_path, str(tmp_path / "out"))
    assert ended.returncode == 1
    wheels = {each.name.partition("-1.0")[0] for each in (tmp_path / "out").iterdir()}
    assert {"pytest", "typer", "opencv-python-headless"} <= wheels
    assert "hypothesis" not in wheels
    assert "hypothesis: cannot be had: ERROR: no version of hypothesis" in ended.stdout


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    ended = carry(tmp_path, str(tmp_path / "out"), limit="9")
    assert ended.returncode == 1
    assert len(list((tmp_path / "out").iterdir())) == 4
    assert "opencv-python-headless: 2 MiB do not fit into 9 MiB" in ended.stdout


@pytest.mark.parametrize("arguments", [(), ("a", "b")])
def test_how_it_is_used(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ended = carry(tmp_path, *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("usage:")
