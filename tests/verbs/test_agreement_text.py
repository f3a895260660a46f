"""Worst landmarks and quantities on a terminal: whole at 80 columns, and honest about gaps."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from bench_fakes import FakeDataset, FakeSession, make_spec
from rendering import text_of
from rich.console import Group

from mahtrt.benchmarks.compare import Contender, compare
from mahtrt.benchmarks.options import CompareOptions
from mahtrt.benchmarks.report import BenchReport, ReportFacts
from mahtrt.data.spine_phantom import SPINE_LANDMARKS, SpineDataset
from mahtrt.measure.accuracy import Annotations, LandmarkSet
from mahtrt.measure.agreement import agreement
from mahtrt.measure.quantity_file import quantities_for
from mahtrt.verbs.agreement_text import agreement_tables

NAMES = make_spec().landmarks  # sella, nasion, menton


class Broken(FakeSession):
    def run(self, *images: np.ndarray) -> object:
        found = super().run(*images)
        if images[0][0, 0] == 3:
            found.points[2] = np.nan
        return found


def bench(session: FakeSession, data: FakeDataset) -> BenchReport:
    contenders = [
        Contender("pytorch", "pytorch", "fp32", 1, FakeSession(), is_reference=True),
        Contender("openvino-int8", "openvino", "int8", 1, session, is_default=True),
    ]
    options = CompareOptions(rounds=2, warmup=0, quantities=quantities_for("auto", NAMES))
    return compare(contenders, data, options, ReportFacts("fake"))


def tables(report: BenchReport, width: int = 80) -> str:
    return text_of(Group(*agreement_tables(report)), width=width)


def test_differences_of_an_engine_are_told() -> None:
    report = bench(FakeSession(off_px=2.0), FakeDataset(count=9))
    text = tables(report)
    assert "sella     +1.000, +0.000  0.000, 0.000  1.000  1.000" in text
    assert re.search(r"N-Me +mm +\+0.000 \[\+0.000, \+0.000\] +0.000 +0.000 +0.000", text)
    assert "quantities-cephalometry.toml: 21 quantities cannot be measured here" in text
    document = report.to_dict()
    (found,) = document["details"]["openvino-int8"]["quantities"]
    assert (found["name"], found["unit"], found["images"], found["non_finite"]) == (
        "N-Me",
        "mm",
        9,
        0,
    )
    # (30, 40) to (50, 60) in pixels of 0.5 mm
    assert found["reference_mean"] == pytest.approx(np.hypot(10, 10))
    assert [each["name"] for each in document["quantities"]["definitions"]] == ["N-Me"]


def test_a_point_that_is_not_finite_is_told_of() -> None:
    report = bench(Broken(), FakeDataset(count=9))
    text = tables(report)
    assert "openvino-int8: 1 point is not finite" in text
    assert "openvino-int8: N-Me has no value in 1 image\n" in text
    (found,) = report.to_dict()["details"]["openvino-int8"]["quantities"]
    assert (found["images"], found["non_finite"]) == (9, 1)
    assert found["bias"] is found["max"] is found["engine_mean"] is found["bias_interval"] is None


def test_without_a_spacing_millimetres_are_skipped() -> None:
    report = bench(FakeSession(), FakeDataset(spacing_mm=None))
    document = report.to_dict()
    assert "quantities" not in document["details"]["openvino-int8"]
    assert document["quantities"]["definitions"] == []
    assert {"name": "N-Me", "reason": "it is in mm, and no image has a pixel spacing"} in (
        document["quantities"]["skipped"]
    )
    without = replace(report, quantities=None, details={})
    assert agreement_tables(without) == []
    assert not {"details", "quantities"} & set(without.to_dict())


@pytest.mark.parametrize("width", [60, 80])
def test_tables_are_whole_at_every_width(width: int) -> None:
    spines = [SpineDataset(9, 5)[i] for i in range(9)]
    points = np.stack([each.points_px for each in spines if each.points_px is not None])
    spacing = np.array([each.spacing_mm for each in spines])
    moved = points + np.random.default_rng(0).normal(0, 30, points.shape)
    found = agreement(
        LandmarkSet(moved, moved),
        LandmarkSet(points, points),
        SPINE_LANDMARKS,
        Annotations(np.full(points.shape, np.nan), spacing),
        quantities_for("auto", SPINE_LANDMARKS),
    )
    report = bench(FakeSession(), FakeDataset())
    text = tables(replace(report, details={"openvino-int8": found}), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    if width == 80:
        lines = {line.partition("  ")[0] for line in text.splitlines()}
        assert lines >= {each.name for each in found.quantities}
