"""experiments/c_library_time.py measures both libraries, and opens a bundle in both."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_it_tells_how_long_everything_takes(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(ROOT / "experiments")
    measure = importlib.import_module("c_library_time")
    measure.main([str(tiny_bundle), "--runs=2", "--openings=1", "--side=64"])
    told = json.loads(capsys.readouterr().out)
    assert list(told["ms"]) == ["Session.run", "mahtrt_run", "mahtrt_infer", "mahtrt_prepare"]
    assert all(0 < row["p50"] <= row["p99"] for row in told["ms"].values())
    assert set(told["first_landmarks_s"]) == {"Python", "C"}
    assert min(told["first_landmarks_s"].values()) > 0
