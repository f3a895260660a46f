from __future__ import annotations

import numpy as np

from mahtrt.benchmarks.conditions import find_warnings
from mahtrt.benchmarks.report import Row
from mahtrt.measure.accuracy import LandmarkSet, measure
from mahtrt.measure.timing import Timings

POINTS = LandmarkSet(np.zeros((1, 1, 2)), np.zeros((1, 1, 2)))
NOTHING = measure(POINTS, POINTS, ("sella",))


def row(
    name: str,
    samples_ms: tuple[float, ...] = (1.0,) * 100,
    *,
    batch: int = 1,
    threads: int | None = None,
) -> Row:
    return Row(name, name, "fp32", batch, "engine", Timings(samples_ms), NOTHING, threads=threads)


def test_quiet_and_even_gives_no_warning() -> None:
    rows = [row("pytorch", threads=2), row("openvino", threads=2), row("tensorrt")]
    assert find_warnings(rows, load=(0.1, 0.1, 0.1)) == []
    assert find_warnings(rows, load=None) == []


def test_a_busy_machine() -> None:
    (warning,) = find_warnings([row("openvino")], load=(999.0, 1.0, 1.0))
    assert warning.startswith("the machine was busy before the bench: load 999.0")


def test_what_concerns_some_rows_names_them() -> None:
    few = (1.0,) * 10
    rows = [row("a", few), row("b", few), row("c")]
    assert find_warnings(rows, load=None) == [
        "a engine, b engine: only 10 runs: p99 is the maximum"
    ]
    assert find_warnings(rows[:2], load=None) == ["only 10 runs: p99 is the maximum"]


def test_batches_that_differ() -> None:
    (warning,) = find_warnings([row("a"), row("b", batch=4)], load=None)
    assert "batch sizes differ" in warning
