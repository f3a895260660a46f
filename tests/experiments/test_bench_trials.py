"""The trials of a bench's comparison, on a tiny bundle."""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from mahtrt.benchmarks import bench as bench_module
from mahtrt.benchmarks.options import BenchOptions

SCRIPT = Path(__file__).resolve().parents[2] / "experiments/bench_trials.py"


@pytest.fixture(scope="module")
def trials() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_trials", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_planted_slowdown_is_of_the_calls_own_time(trials: ModuleType) -> None:
    slow = trials.SlowSession(SimpleNamespace(run=lambda: time.sleep(0.05), batch=3), 1.0)
    begun = time.perf_counter()
    slow.run()
    assert 0.1 <= time.perf_counter() - begun < 0.5
    assert slow.batch == 3


def test_engines_are_slow_only_within_the_block(trials: ModuleType) -> None:
    module: Any = bench_module
    real = module.open_engine
    with trials.slowed_engines(0.1):
        assert module.open_engine is not real
    assert module.open_engine is real


def test_a_trial_finds_what_was_planted(
    trials: ModuleType, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_bundle.parent)
    options = BenchOptions(
        tiny_bundle,
        engines=("openvino",),
        rounds=40,
        settle=0.0,
        threads=1,
        tolerance=0.5,
        cold_starts=0,
    )
    found = trials.trial(options, 5.0, seed=1)
    document = json.loads(json.dumps(trials.summary([found], options, 5.0), allow_nan=False))
    assert document["verdict"]["trials"] == 1
    assert document["verdict"]["slowed_worse"] == 1
    assert {row["scope"] for row in document["trials"][0]["slowed"]} == {"engine", "end_to_end"}
    assert set(found["ratios_differ"]) == {"openvino-fp32 engine", "openvino-fp32 end_to_end"}
    assert len(found["unchanged"]) == 2
