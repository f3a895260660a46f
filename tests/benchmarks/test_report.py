"""The report from fixed numbers: its text against a golden file, its JSON against the schema.

After a wanted change: MAHTRT_WRITE_GOLDEN=1 pytest tests/benchmarks/test_report.py
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rendering import report_text, text_of

from mahtrt.benchmarks.report import BenchReport, Change, Row
from mahtrt.bundle.records import AccuracyRecord
from mahtrt.measure.accuracy import Annotations, LandmarkSet, measure
from mahtrt.measure.limits import Limits
from mahtrt.measure.timing import Timings
from mahtrt.verbs.report_legend import CHANGE_LEGEND, LANDMARK_LEGEND, LATENCY_LEGEND
from mahtrt.verbs.report_text import report_table
from mahtrt.verbs.verdict_text import worst_landmarks

GOLDEN = Path(__file__).with_name("golden_report.txt")
NAMES = ("sella", "nasion", "menton")
REFERENCE = Timings(tuple(400.0 + i for i in range(100)))

NUMBER, TEXT, FLAG = (int, float), (str,), (bool,)
OPTIONAL = (int, float, type(None))
# "mahtrt.bench/1": what a reader of the JSON may rely on. Fields may be added, none renamed.
DOCUMENT: dict[str, Any] = {
    "schema": TEXT,
    "machine": {"cpu": TEXT, "cores_usable": NUMBER},
    "versions": {"python": TEXT},
    "model": {"family": TEXT},
    "conditions": {"reference": TEXT, "threads": OPTIONAL},
    "rows": [
        {
            **dict.fromkeys(("backend", "precision", "scope", "measured_on"), TEXT),
            **dict.fromkeys(("p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms"), NUMBER),
            **dict.fromkeys(("batch", "runs", "images_per_s"), NUMBER),
            "speedup_vs_torch": OPTIONAL,
            "threads": OPTIONAL,
            "device": TEXT,
            "accuracy": {
                **dict.fromkeys(("mean_px", "max_px", "two_peaked", "new_two_peaks"), OPTIONAL),
                **dict.fromkeys(("single_peak_p99_px", "single_peak_max_px"), OPTIONAL),
                **dict.fromkeys(("delta_mre_px", "delta_mre_mm"), OPTIONAL),
                "worst_mre_change_percent": OPTIONAL,
                "two_peaked_points": [{"image": TEXT, "landmark": TEXT, "moved_px": NUMBER}],
                "per_landmark": [
                    {
                        "name": TEXT,
                        **dict.fromkeys(("mean_px", "max_px", "mre_change_percent"), OPTIONAL),
                    }
                ],
            },
        }
    ],
    "verdict": {
        "latency_budget_ms": NUMBER,
        "accuracy_pass": FLAG,
        "latency_pass": FLAG,
        "pass": FLAG,
    },
}


def mismatches(document: Any, schema: Any, where: str = "$") -> list[str]:
    """Where a document lacks a field of the schema, or holds another type."""
    if isinstance(schema, tuple):
        right = isinstance(document, schema) and (schema == FLAG or not isinstance(document, bool))
        return [] if right else [f"{where}: {document!r}"]
    if isinstance(schema, list):
        items = enumerate(document)
        return [m for i, each in items for m in mismatches(each, schema[0], f"{where}[{i}]")]
    absent = [f"{where}: no {name}" for name in schema if name not in document]
    return absent + [
        m
        for name, part in schema.items()
        if name in document
        for m in mismatches(document[name], part, f"{where}.{name}")
    ]


def accuracy(off_px: float) -> AccuracyRecord:
    rng = np.random.default_rng(0)
    truth = rng.uniform(100, 900, (20, 3, 2))
    reference = truth + rng.normal(0, 4, truth.shape)
    candidate = reference + off_px * np.array([[1.0, 0], [0, 1], [2, 0]])
    return measure(
        LandmarkSet(candidate / 2, candidate),
        LandmarkSet(reference / 2, reference),
        NAMES,
        Annotations(truth, np.full((20, 2), 0.1)),
    )


def rows(name: str, precision: str, off_px: float, ms: float, **more: Any) -> list[Row]:
    found = accuracy(off_px)
    return [
        Row(
            name=name,
            backend=name.split("-")[0],
            precision=precision,
            batch=1,
            scope=scope,  # type: ignore[arg-type]
            timings=Timings(tuple(extra + ms + ms * i / 500 for i in range(100))),
            accuracy=found,
            **{"gate": Limits().judge(found, precision)} | more,
        )
        for scope, extra in (("engine", 0.0), ("end_to_end", 6.5))
    ]


def ratio(value: float) -> dict[str, float]:
    return {"speedup_vs_reference": value, "speedup_vs_torch": value}


@pytest.fixture
def report() -> BenchReport:
    return BenchReport(
        machine={"cpu": "a CPU", "cores_usable": 2},
        versions={"python": "3.11.9"},
        model={"family": "maht-net"},
        conditions={"reference": "PyTorch 2.9.0 eager fp32", "threads": 2},
        rows=(
            *rows("pytorch", "fp32", 0.0, 840.0, gate=None, is_reference=True),
            *rows("openvino-fp32", "fp32", 0.002, 480.0, **ratio(1.75)),
            *rows("openvino-int8", "int8", 0.2, 94.25, is_default=True, **ratio(8.91)),
            *rows("onnxruntime-int8", "int8", 0.6, 900.0, **ratio(0.933)),
        ),
        latency_budget_ms=100.0,
        warnings=("the machine was busy before the bench: load 1.9 on 2 cores",),
    )


def test_text_is_the_golden_one(report: BenchReport) -> None:
    if os.environ.get("MAHTRT_WRITE_GOLDEN"):
        GOLDEN.write_text(report_text(report, explain=True), encoding="utf-8")
    assert report_text(report, explain=True) == GOLDEN.read_text(encoding="utf-8")


def test_text_tells_what_changed_since_a_baseline(report: BenchReport) -> None:
    changes = (
        Change("openvino-fp32", "engine", "worse", 10.25, (8.0, 12.5)),
        Change("openvino-int8", "engine", "not comparable", reason="other threads than before"),
    )
    changed = replace(report, changes=changes, baseline="old.json")
    text = report_text(changed)
    assert "since old.json" in text
    assert "worse: +10.2% [+8.0, +12.5]" in text
    assert "not comparable: other threads than before" in text
    explained = " ".join(report_text(changed, explain=True).split())
    assert all(text in explained for text in CHANGE_LEGEND)
    assert "change since" not in text + report_text(report, explain=True)


def test_what_the_columns_mean_is_told_where_asked_for(report: BenchReport) -> None:
    plain = " ".join(report_text(report).split())
    told = text_of(report_table(report, explain=True, limits=Limits()))
    explained = " ".join(told.split())
    for text in (*LATENCY_LEGEND, *LANDMARK_LEGEND):
        assert text in explained
        assert text not in plain
    assert "openvino-int8: pass: mean displacement 0.133 px, at most 0.25 px; " in explained
    assert "onnxruntime-int8: FAIL: " in explained
    assert "mean displacement 0.4 px is over its budget of 0.25 px." in explained
    assert "openvino-int8, the bundle's default engine: FAIL: end_to_end p99 119.2" in explained


def test_the_verdict_comes_first_and_warnings_last(report: BenchReport) -> None:
    lines = report_text(report).splitlines()
    assert lines[0].startswith("FAIL  accuracy: 2 of 3 engines within limits; latency: openvino-")
    assert lines[1].startswith("  onnxruntime-int8: mean displacement 0.4 px is over its budget")
    assert lines[-1].startswith("warning: the machine was busy")


def test_json_has_the_fields_of_the_schema(report: BenchReport) -> None:
    document = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert document["schema"] == "mahtrt.bench/1"
    assert mismatches(document, DOCUMENT) == []
    assert {row["scope"] for row in document["rows"]} == {"engine", "end_to_end"}


def test_the_check_of_the_schema_finds_what_is_wrong(report: BenchReport) -> None:
    document = report.to_dict()
    del document["rows"][2]["p99_ms"]
    document["verdict"]["pass"] = 1
    document["rows"][0]["batch"] = True
    assert mismatches(document, DOCUMENT) == [
        "$.rows[0].batch: True",
        "$.rows[2]: no p99_ms",
        "$.verdict.pass: 1",
    ]


def test_verdict(report: BenchReport) -> None:
    # int8 of onnxruntime moves by 0.4 px, and openvino's p99 is 119.4 ms.
    assert (report.accuracy_pass, report.latency_pass, report.passed) == (False, False, False)
    assert report.exit_code == 3
    assert len(report.reasons) == 2
    fewer = replace(report, rows=report.rows[:-2])
    assert (fewer.accuracy_pass, fewer.exit_code) == (True, 4)
    assert replace(fewer, latency_budget_ms=200).exit_code == 0


def test_without_the_default_engine_the_first_one_is_judged(report: BenchReport) -> None:
    some = replace(report, rows=report.rows[:4])
    assert (some.judged_row.name, some.judged_row.scope) == ("openvino-fp32", "end_to_end")
    assert some.to_dict()["verdict"]["latency_engine"] == "openvino-fp32"


def test_without_annotations_the_columns_stay_empty(report: BenchReport) -> None:
    bare = measure(
        LandmarkSet(np.zeros((2, 3, 2)), np.zeros((2, 3, 2))),
        LandmarkSet(np.zeros((2, 3, 2)), np.zeros((2, 3, 2))),
        NAMES,
    )
    text = report_text(
        replace(report, rows=tuple(replace(row, accuracy=bare) for row in report.rows))
    )
    assert "None" not in text
    assert "nan" not in text


def test_verdict_of_each_row_says_what_was_judged(report: BenchReport) -> None:
    document = report.to_dict()
    assert [row["verdict"] is None for row in document["rows"]] == [True] * 2 + [False] * 6
    found = replace(report.rows[-1], batch=4, stand_in="the graph through ONNX Runtime").to_dict()
    assert found["verdict"]["batch"] == 4
    assert found["verdict"]["measured_on"] == "the graph through ONNX Runtime"
    assert found["verdict"]["passed"] is False
    assert "mean displacement 0.4 px" in found["verdict"]["reasons"][0]


def test_only_an_engine_that_failed_lists_its_worst_landmarks(report: BenchReport) -> None:
    text = report_text(report)
    assert text.count("worst landmarks of") == 1
    assert "worst landmarks of onnxruntime-int8:" in text
    names = tuple(f"p{k}" for k in range(9))
    reference = np.zeros((3, 9, 2))
    candidate = reference + np.arange(9)[:, None] * np.array([1.0, 0.0])
    found = measure(LandmarkSet(candidate, candidate), LandmarkSet(reference, reference), names)
    assert [row.name for row in worst_landmarks(found)] == ["p8", "p7", "p6", "p5", "p4"]
    failed = replace(report.rows[5], accuracy=found, gate=Limits().judge(found, "int8"))
    engine = replace(failed, scope="engine")
    text = report_text(replace(report, rows=(*report.rows[:2], engine, failed)))
    assert "p8  moved 8.000 px, at most 8.000 px\n" in text  # no annotations: no MRE
    assert "p3" not in text.split("worst landmarks of")[1].partition("reference")[0]


@pytest.mark.parametrize(
    ("count", "excused", "line"),
    [
        (1, 1, "1 point has {wide}; it moved by up to 2.31 px; it is listed in the JSON"),
        (1, 0, "1 point has {wide}; it moved by up to 2.31 px, further than that explains; it is"),
        (3, 3, "3 points have {wide}; they moved by up to 2.31 px; they are listed in the JSON"),
        (3, 1, "3 points have {wide}; they moved by up to 2.31 px, 2 of them further than that"),
        (21, None, "21 points have {wide}; they moved by up to 2.31 px; the 20 that moved most"),
    ],
)
def test_points_with_a_wide_heatmap_are_told_once(
    report: BenchReport, count: int, excused: int | None, line: str
) -> None:
    wide = "a heatmap far wider than usual"
    assert wide not in report_text(report)
    some = tuple(
        replace(
            row,
            accuracy=replace(
                row.accuracy,
                two_peaked=count,
                two_peaked_max_px=2.314,
                two_peaked_excused=excused,
            ),
        )
        for row in report.rows
    )
    text = " ".join(report_text(replace(report, rows=some), width=200).split())
    assert text.count(wide) == 1
    line = line.format(wide=wide)
    assert f"openvino-fp32, openvino-int8, onnxruntime-int8: {line}" in text
