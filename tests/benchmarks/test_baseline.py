"""A bench beside an earlier one: what changed is found, and what did not change is left alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mahtrt.benchmarks.baseline import compare_with_baseline, notes_on, read_baseline
from mahtrt.benchmarks.report import BenchReport, Change, Row
from mahtrt.bundle.records import AccuracyRecord
from mahtrt.errors import DataError, IntegrityError, MahtrtError
from mahtrt.measure.accuracy import LandmarkSet, measure
from mahtrt.measure.timing import Timings

Table = dict[str, Any]


def accuracy() -> AccuracyRecord:
    same = LandmarkSet(np.zeros((2, 3, 2)), np.zeros((2, 3, 2)))
    return measure(same, same, ("a", "b", "c"))


def run_of(
    seed: int, slower: float = 1.0, *, rounds: int = 100, machine: float = 1.0, **of_engine: Any
) -> BenchReport:
    """A bench on a shared machine: both rows share its drift and its bursts, and have their own."""
    rng = np.random.default_rng(seed)
    shared = machine * np.exp(np.cumsum(rng.normal(0, 0.01, rounds)))
    shared *= np.where(rng.random(rounds) < 0.1, 1.6, 1.0)
    of_run = np.exp(rng.normal(0, 0.01))  # what no number of rounds averages out

    def times(ms: float) -> Timings:
        return Timings(tuple(ms * shared * np.exp(rng.normal(0, 0.03, rounds))))

    def row(name: str, timings: Timings, **more: Any) -> Row:
        told = {"scope": "end_to_end", "precision": "fp32", "device": "cpu", "threads": 2}
        told |= {"batch": 1, "accuracy": found, "name": name, "timings": timings}
        return Row(**told | more)  # type: ignore[arg-type]

    found = accuracy()
    engine = row("e", times(20 * slower * of_run), backend="openvino", **of_engine)
    return BenchReport(
        machine={"cpu": "a CPU", "cores_usable": 2},
        versions={},
        model={},
        conditions={},
        rows=(row("pytorch", times(60), backend="pytorch", is_reference=True), engine),
        latency_budget_ms=None,
    )


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[BenchReport], Path]:
    def save(report: BenchReport) -> Path:
        path = tmp_path / "old.json"
        path.write_text(json.dumps(report.to_dict()), encoding="utf-8")
        return path

    return save


Saved = Callable[[BenchReport], Path]


def change_of(new: BenchReport, old: Path) -> Change:
    (change,) = compare_with_baseline(new, read_baseline(old))
    return change


@pytest.mark.parametrize("trial", range(10))
def test_a_build_that_is_a_tenth_slower_is_worse(saved: Saved, trial: int) -> None:
    change = change_of(run_of(100 + trial, 1.10, machine=1.8), saved(run_of(trial)))
    assert change.verdict == "worse"
    assert change.percent == pytest.approx(10, abs=4)
    assert change.interval is not None
    assert change.percent is not None
    assert change.interval[0] < change.percent < change.interval[1]


@pytest.mark.parametrize("trial", range(10))
def test_the_same_build_is_no_difference(saved: Saved, trial: int) -> None:
    change = change_of(run_of(200 + trial, machine=0.6), saved(run_of(trial)))
    assert change.verdict == "no difference"


def test_a_faster_build_is_better(saved: Saved) -> None:
    change = change_of(run_of(1, 0.8), saved(run_of(2)))
    assert change.verdict == "better"
    assert change.text.startswith("better: -2")


def test_a_change_within_the_tolerance_is_none(saved: Saved) -> None:
    new, old = run_of(1, 1.10), read_baseline(saved(run_of(2)))
    assert compare_with_baseline(new, old, tolerance=0.2)[0].verdict == "no difference"


def test_a_worse_engine_fails_the_report_and_a_worse_peer_does_not(saved: Saved) -> None:
    old = read_baseline(saved(run_of(1)))
    for is_peer, code in ((False, 4), (True, 0)):
        new = run_of(2, 1.3, is_peer=is_peer)
        report = replace(new, changes=compare_with_baseline(new, old), baseline="old.json")
        assert report.changes[0].verdict == "worse"
        assert report.exit_code == code
        assert len(report.reasons) == (code == 4)
        assert report.to_dict()["verdict"]["pass"] is (code == 0)
        assert report.to_dict()["changes"][0]["verdict"] == "worse"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda r: replace(r, machine={"cpu": "another", "cores_usable": 2}),
            "cpu is 'another', it",
        ),
        (lambda r: replace(r, machine={"cpu": "a CPU", "cores_usable": 4}), "cores_usable is 4"),
        (lambda r: replace(r, model={"family": "other"}), "family is 'other', it was None"),
        (lambda r: replace(r, conditions={"data": "b"}), "data is 'b', it was None"),
        (lambda r: replace(r, versions={"torch": "3.0"}), "PyTorch is '3.0', it was None"),
        (
            lambda r: replace(r, conditions={"torch": [{"layout": "channels_last"}]}),
            "layout of PyTorch is ['channels_last'], it was []",
        ),
        (lambda r: with_row(r, 1, threads=1), "threads is 1, it was 2"),
        (lambda r: with_row(r, 1, batch=4), "batch is 4, it was 1"),
        (lambda r: with_row(r, 0, threads=1), "the reference's threads is 1, it was 2"),
        (lambda r: with_row(r, 0, timed_by="device"), "the reference's timed_by is 'device'"),
        (lambda r: with_row(r, 1, name="new"), "old.json has no times of it"),
        (
            lambda r: with_row(r, 0, backend="onnxruntime"),
            "backend is 'onnxruntime', it was",
        ),
        (lambda r: with_row(r, 1, device="cuda:0 GPU"), "no reference on its device"),
    ],
)
def test_what_cannot_be_compared_says_why(
    saved: Saved, change: Callable[[BenchReport], BenchReport], reason: str
) -> None:
    found = change_of(change(run_of(1)), saved(run_of(2)))
    assert found.verdict == "not comparable"
    assert found.percent is None
    assert reason in found.reason
    assert reason in found.text


def with_row(report: BenchReport, place: int, **new: Any) -> BenchReport:
    rows = list(report.rows)
    rows[place] = replace(rows[place], **new)
    return replace(report, rows=tuple(rows))


def test_nothing_comparable_and_what_is_gone_are_warned_of(saved: Saved) -> None:
    old = read_baseline(saved(run_of(2)))
    assert notes_on(compare_with_baseline(run_of(1), old), old) == []
    elsewhere = replace(run_of(1), machine={"cpu": "another", "cores_usable": 2})
    (note,) = notes_on(compare_with_baseline(elsewhere, old), old)
    assert note.startswith("nothing was compared with old.json: cpu is 'another', it was 'a CPU'")
    renamed = with_row(run_of(1), 1, name="new")
    _, gone = notes_on(compare_with_baseline(renamed, old), old)
    assert gone == "e is in old.json and was not measured"


def test_too_few_rounds_are_not_compared(saved: Saved) -> None:
    found = change_of(run_of(1, rounds=8), saved(run_of(2)))
    assert found.reason == "only 8 rounds, at least 20 are needed"


def test_what_was_not_timed_has_no_change(saved: Saved) -> None:
    report = with_row(run_of(1), 1, timings=None)
    assert compare_with_baseline(report, read_baseline(saved(run_of(2)))) == ()


def without_samples(table: Table) -> Table:
    for row in table["rows"]:
        del row["samples_ms"]
    return table


def with_fewer_samples(table: Table) -> Table:
    table["rows"][1]["samples_ms"].pop()
    return table


def with_time(ms: Any) -> Callable[[Table], Table]:
    def damage(table: Table) -> Table:
        table["rows"][0]["samples_ms"][0] = ms
        return table

    return damage


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (with_time(1e-320), DataError, "rows without times"),
        (with_time(1e300), DataError, "rows without times"),
        (with_time(-1.0), DataError, "rows without times"),
        (with_time(True), DataError, "rows without times"),
        (without_samples, DataError, "rows without times of single rounds"),
        (with_fewer_samples, DataError, "other rounds of e than of its reference"),
        (lambda t: t | {"rows": t["rows"][1:]}, DataError, "got no reference"),
        (lambda t: t | {"rows": None}, DataError, "rows without times"),
        (lambda t: t | {"schema": "mahtrt.bench/9"}, IntegrityError, "mahtrt.bench/9"),
        (lambda t: [t], DataError, "no table"),
    ],
)
def test_a_file_that_is_no_report_is_refused(
    tmp_path: Path, damage: Callable[[Table], Any], error: type[MahtrtError], message: str
) -> None:
    path = tmp_path / "old.json"
    path.write_text(json.dumps(damage(run_of(1).to_dict())), encoding="utf-8")
    with pytest.raises(error, match=message):
        read_baseline(path)


def test_no_file_and_no_json_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the JSON of an earlier mahtrt bench"):
        read_baseline(tmp_path / "none.json")
    (tmp_path / "text.json").write_text("fast", encoding="utf-8")
    with pytest.raises(DataError, match=r"text\.json"):
        read_baseline(tmp_path / "text.json")
