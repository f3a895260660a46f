"""What the command line draws."""

from __future__ import annotations

import itertools
import time

import pytest

from mahtrt.verbs.console import StageDisplay


def test_without_a_terminal_a_stage_tells_every_few_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with StageDisplay() as display:
        for second in range(2000):
            now = float(second)
            display("training", second, 2000, f"step {second}")
    lines = capsys.readouterr().err.splitlines()
    assert lines[:3] == [
        "[   0.0 s] training",
        "[   6.0 s] training: step 6, 33:14 left",
        "[  12.0 s] training: step 12, 33:08 left",
    ]
    assert lines[-1] == "[1999.0 s] done"
    told = [float(line[1:7]) for line in lines[:-1]]
    pauses = [after - before for before, after in itertools.pairwise(told)]
    assert max(pauses[:15]) <= 6
    assert 30 <= max(pauses) <= 31
