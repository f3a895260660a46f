from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mahtrt.benchmarks.conditions import find_warnings
from mahtrt.benchmarks.report import Row
from mahtrt.measure.accuracy import LandmarkSet, measure
from mahtrt.measure.timing import Timings

POINTS = LandmarkSet(np.zeros((1, 1, 2)), np.zeros((1, 1, 2)))
NOTHING = measure(POINTS, POINTS, ("sella",))


def row(name: str, samples_ms: tuple[float, ...] = (1.0,) * 100, batch: int = 1) -> Row:
    return Row(name, name, "fp32", batch, "engine", Timings(samples_ms), NOTHING)


@pytest.fixture
def two_torch_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    fake: Any = SimpleNamespace(get_num_threads=lambda: 2)
    monkeypatch.setitem(sys.modules, "torch", fake)


def test_quiet_and_even_gives_no_warning(two_torch_threads: None) -> None:
    rows = [row("pytorch"), row("openvino")]
    assert find_warnings(rows, threads=2, load=(0.1, 0.1, 0.1)) == []
    assert find_warnings(rows, threads=2, load=None) == []


def test_a_busy_machine() -> None:
    (warning,) = find_warnings([row("openvino")], threads=None, load=(999.0, 1.0, 1.0))
    assert warning.startswith("the machine was busy before the bench: load 999.0")


def test_pytorch_on_other_threads_than_the_engines(two_torch_threads: None) -> None:
    (warning,) = find_warnings([row("pytorch"), row("openvino")], threads=4, load=None)
    assert warning == "PyTorch ran on 2 threads, the engines on 4"
    assert find_warnings([row("openvino")], threads=4, load=None) == []


def test_what_concerns_some_rows_names_them() -> None:
    few = (1.0,) * 10
    rows = [row("a", few), row("b", few), row("c")]
    assert find_warnings(rows, threads=None, load=None) == [
        "a engine, b engine: only 10 runs: p99 is the maximum"
    ]
    assert find_warnings(rows[:2], threads=None, load=None) == ["only 10 runs: p99 is the maximum"]


def test_batches_that_differ() -> None:
    (warning,) = find_warnings([row("a"), row("b", batch=4)], threads=None, load=None)
    assert "batch sizes differ" in warning
