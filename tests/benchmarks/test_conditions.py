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


def test_warnings_of_one_kind_are_one_line_about_the_worst() -> None:
    def noisy(name: str, ratio: float) -> Row:
        return row(name, (1.0, 1.0, 1.0, ratio) * 25)

    rows = [noisy("a", 2.0), noisy("b", 3.0), row("c", (1.0,) * 100)]
    noise = "noisy: p90 is up to 3.0 times p50, other work shares the machine"
    assert find_warnings(rows, load=None) == [f"a engine, b engine: {noise}"]
    assert find_warnings(rows[:2], load=None) == [noise]
    many = [*rows, noisy("d", 2.5), noisy("e", 1.6)]
    assert find_warnings(many, load=None) == [f"4 of 5 rows: {noise}"]
    drifting = [row(name, (1.0,) * 50 + (end,) * 50) for name, end in (("a", 1.4), ("b", 1.3))]
    told = "drifts: p50 went from 1 to 1.4 ms during the run, in the worst of them"
    assert find_warnings(drifting, load=None) == [told]


def test_batches_that_differ() -> None:
    (warning,) = find_warnings([row("a"), row("b", batch=4)], load=None)
    assert "batch sizes differ" in warning
