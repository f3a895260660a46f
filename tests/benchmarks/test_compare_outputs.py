"""A bench of a network of two images that gives a map and labels and no landmarks."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import tiny_maps
from map_pairs import Pairs, session
from rendering import report_text

from mahtrt.benchmarks.compare import Contender, compare
from mahtrt.benchmarks.golden import GoldenImages, RecordedLandmarks
from mahtrt.benchmarks.options import CompareOptions
from mahtrt.benchmarks.report import BenchReport, ReportFacts
from mahtrt.bundle.golden_outputs import GoldenValues, thinned
from mahtrt.bundle.records import AccuracyRecord
from mahtrt.errors import DataError
from mahtrt.measure.limits import Limits
from mahtrt.schema import dataclass_from


def run(noise: float, limits: Limits | None = None, data: Pairs | None = None) -> BenchReport:
    found = [
        Contender("reference", "pytorch", "fp32", 1, session(), is_reference=True),
        Contender("onnxruntime-fp32", "onnxruntime", "fp32", 1, session()),
        Contender("onnxruntime-int8", "onnxruntime", "int8", 1, session(noise), is_default=True),
    ]
    options = CompareOptions(
        images=6, warmup=0, rounds=2, latency_budget_ms=None, limits=limits or Limits()
    )
    return compare(found, data or Pairs(), options, ReportFacts("fake"))


def test_maps_and_labels_are_judged_and_told_of() -> None:
    report = run(0.003)
    assert (report.exit_code, report.reasons) == (0, ())
    assert "details" not in report.to_dict()  # they are of landmarks
    by_name = {row.name: row.accuracy for row in report.rows if row.scope == "engine"}
    same, near = by_name["onnxruntime-fp32"], by_name["onnxruntime-int8"]
    assert (same.maps[0].max, same.logits[0].max) == (0, 0)
    assert same.maps[0].ssim == pytest.approx(1)
    assert 0 < near.maps[0].mean < 0.01
    assert near.maps[0].annotated_images == 3
    assert near.maps[0].mae == pytest.approx(same.maps[0].mae or 0, abs=0.01)
    assert near.logits[0].per_label[0].positives == 3
    assert same.logits[0].delta_auroc == 0
    text = report_text(report, explain=True)
    assert "moved px" not in text
    for word in ("change", "SSIM", "MAE", "findings", "AUROC", "same", "structural"):
        assert word in text
    document = json.dumps(report.to_dict(), allow_nan=False)
    rows = json.loads(document)["rows"]
    assert rows[-1]["accuracy"]["maps"][0]["worst_image"].startswith("pair ")
    moved = ("mean_px", "p99_px", "max_px", "worst_landmark_mean_px")
    assert [rows[-1]["accuracy"][name] for name in moved] == [None] * 4  # there is no landmark
    assert dataclass_from(AccuracyRecord, rows[-1]["accuracy"], "report").mean_px is None
    assert json.loads(document)["model"]["outputs"] == {"change": "map", "findings": "logits"}


def test_the_gate_of_an_engine_stands_once_beside_several_tables() -> None:
    """It judges maps and labels together: beside each of them it would say what is not so."""
    text, explained = (report_text(run(0.3), explain=explain) for explain in (False, True))
    titles = [line for line in text.splitlines() if line.startswith(("change ", "findings "))]
    assert [line.split()[-1] for line in titles] == ["gate", "change"]
    assert text.count("FAIL") == 2  # of the engine, and of the bench
    assert (
        "gate: whether all that an engine gives, in all its tables, is within its limits."
        in explained
    )


def test_over_the_budget_of_a_map_is_exit_3() -> None:
    report = run(0.3)
    assert report.exit_code == 3
    assert any("difference of change" in reason for reason in report.reasons)
    assert "FAIL" in report_text(report)
    wide = Limits(map_mean=1.0, map_ssim=-1.0, logits_agreement=0.0)
    assert run(0.3, wide).exit_code == 0


def test_a_network_that_gives_nan_fails() -> None:
    report = run(float("nan"))
    assert report.exit_code == 3
    assert "values of change are NaN" in report.reasons[0]
    json.dumps(report.to_dict(), allow_nan=False)


def test_labels_of_another_number_are_refused() -> None:
    with pytest.raises(DataError, match="3 annotated labels; expected the network's 2"):
        run(0.0, data=Pairs(labels=3))


def test_a_recorded_reference_is_compared_at_the_places_that_it_has() -> None:
    spec = tiny_maps.spec_of("image")
    vectors = []
    for number in range(2):
        vector = tiny_maps.golden_vector(spec, number)
        change = vector.outputs["change"]
        kept = {"change": GoldenValues(thinned(change.values, 3), 3)}  # and no labels
        vectors.append(replace(vector, outputs=kept))
    recorded = RecordedLandmarks(vectors, spec)
    assert recorded.recorded == {"change": 3}
    found = [
        Contender(
            *("reference", "recorded", "fp32", 1, recorded),
            is_reference=True,
            stand_in="records",
            recorded=recorded.recorded,
        ),
        Contender("engine", "onnxruntime", "fp32", 1, session(spec=spec)),
        Contender("wrong", "onnxruntime", "fp32", 1, session(0.1, spec)),
    ]
    options = CompareOptions(images=2, warmup=0, rounds=1, latency_budget_ms=None)
    report = compare(found, GoldenImages(vectors), options, ReportFacts("fake"))
    engine, wrong = (row for row in report.rows[2:] if row.scope == "engine")
    assert [row.gate and row.gate.passed for row in (engine, wrong)] == [True, False]
    assert engine.accuracy.logits == ()
    assert "change" in report_text(report)
