"""The roofline: limits are measured in the engines' rounds, and floors follow by arithmetic."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_fakes import FakeSession
from tiny_bundle import write_tiny

from mahtrt.benchmarks import bench as bench_module
from mahtrt.benchmarks import roofline
from mahtrt.benchmarks.compare import Contender
from mahtrt.benchmarks.options import BenchOptions
from mahtrt.benchmarks.report import BenchReport, Row
from mahtrt.benchmarks.roofline import Probe, Roof, raise_roof
from mahtrt.bundle.bundle import read_bundle
from mahtrt.bundle.records import AccuracyRecord
from mahtrt.errors import BuildError
from mahtrt.graph import repeated
from mahtrt.measure.accuracy import LandmarkSet, measure
from mahtrt.measure.timing import Timings

HERE = ("openvino", 2)


def probe(precision: str, operation: str, flop: float) -> Probe:
    return Probe(HERE, precision, operation, flop, lambda: None)


def accuracy() -> AccuracyRecord:
    same = LandmarkSet(np.zeros((2, 3, 2)), np.zeros((2, 3, 2)))
    return measure(same, same, ("a", "b", "c"))


def report_with(beside: dict[str, float], **p50_ms: float) -> BenchReport:
    told: dict[str, Any] = {"backend": "openvino", "precision": "int8", "batch": 1}
    told |= {"scope": "engine", "accuracy": accuracy()}
    rows = tuple(Row(name, timings=Timings((ms,)), **told) for name, ms in p50_ms.items())
    times = {name: Timings((ms, ms, 50 * ms)) for name, ms in beside.items()}
    return BenchReport({}, {}, {}, {}, rows, None, beside=times)


def test_floors_by_hand() -> None:
    fast, slow = probe("int8", "a", 4e9), probe("int8", "b", 4e9)
    floating = probe("bf16", "a", 4e9)
    roof = Roof(
        (fast, slow, floating),
        {"mixed": {"int8": 6_000_000_000, "bf16": 1_000_000_000}, "other": {"fp16": 1}},
        {"mixed": HERE, "other": HERE},
        7.0,
    )
    times = {fast.name: 2.0, slow.name: 4.0, floating.name: 8.0}  # 2000, 1000, 500 GFLOP/s
    found = roof.onto(report_with(times, mixed=10.0, other=1.0, peer=1.0))
    assert found.measures.roofline is not None
    told = found.measures.roofline
    assert [limit.gflops_per_s for limit in told.limits] == pytest.approx([2000, 1000, 500])
    (row,) = told.rows
    assert row.floor_ms == pytest.approx(6 / 2000 * 1e3 + 1 / 500 * 1e3)
    assert row.engine_p50_ms == 10.0
    assert row.share_of_limit == pytest.approx(0.5)
    assert found.warnings == ("other has no roofline: no limit of fp16",)
    document = found.measures.to_dict()["roofline"]
    assert document["network_gflop_per_image"] == 7.0
    assert {limit["threads"] for limit in document["limits"]} == {2}


def test_no_roof_changes_nothing() -> None:
    report = report_with({}, e=1.0)
    assert Roof().onto(report) == report
    assert "roofline" not in report.measures.to_dict()


@pytest.fixture
def small_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeated, "LEAST_FLOP", 1.0)
    monkeypatch.setattr(repeated, "LARGEST", repeated.LargeConv((3, 3), (8, 8), (8, 8)))


@pytest.mark.usefixtures("small_operations")
def test_a_bench_with_a_roofline(tmp_path: Path) -> None:
    options = BenchOptions(
        write_tiny(tmp_path / "b"),
        engines=("openvino-fp32", "openvino-int8", "onnxruntime-fp32"),
        rounds=2,
        threads=1,
        roofline=True,
    )
    document = bench_module.bench(options).to_dict()
    found = document["roofline"]
    assert {limit["precision"] for limit in found["limits"]} >= {"fp32", "int8"}
    assert {limit["runtime"] for limit in found["limits"]} == {"openvino", "onnxruntime"}
    assert "MatMul 1x1024 by 1024x6" in {limit["operation"] for limit in found["limits"]}
    assert all(limit["gflops_per_s"] > 0 for limit in found["limits"])
    assert found["network_gflop_per_image"] == pytest.approx(2 * 1024 * 6 / 1e9)
    p50_ms = {r["name"]: r["p50_ms"] for r in document["rows"] if r["scope"] == "engine"}
    assert {row["name"] for row in found["rows"]} == set(options.engines or ())
    for row in found["rows"]:
        assert row["engine_p50_ms"] == p50_ms[row["name"]]
        best = max(
            limit["gflops_per_s"]
            for limit in found["limits"]
            if (limit["runtime"], limit["precision"]) == (row["name"].partition("-")[0], "fp32")
        )
        assert row["floor_ms"] == pytest.approx(2 * 1024 * 6 / best / 1e6)  # no product is INT8
        assert row["share_of_limit"] == pytest.approx(row["floor_ms"] / row["engine_p50_ms"])
    assert not {"limit"} & {row["name"].partition(" ")[0] for row in document["rows"]}


@pytest.mark.usefixtures("small_operations")
def test_what_has_no_roofline_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = read_bundle(write_tiny(tmp_path / "b"))
    gpu = Contender("openvino-int8", "openvino", "int8", 1, FakeSession(), device="cuda")
    with ExitStack() as stack:
        roof = raise_roof(bundle, [gpu], stack)
    assert roof.calls == {}
    assert roof.onto(report_with({}, e=1.0)).warnings == (
        "openvino-int8 has no roofline: it runs on a GPU",
    )

    def refuse(*_: object) -> None:
        raise BuildError("graph", got="nothing")

    monkeypatch.setattr(roofline, "_open", refuse)
    with ExitStack() as stack:
        roof = raise_roof(bundle, [replace(gpu, device="cpu")], stack)
    assert roof.probes == ()
    assert "openvino has no limit of fp32 Conv 3x3" in roof.warnings[0]
