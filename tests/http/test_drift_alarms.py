"""Drift over HTTP: one log line and a metric for each alarm, and gauges of every statistic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from http_services import dotted_image, png_of, running

from mahtrt.monitoring.drift import DriftAlarm, DriftMonitor, DriftReport, StatisticReport
from mahtrt.monitoring.facts import ImageFacts
from mahtrt.runtime.landmarks import Landmarks

ROW = StatisticReport(
    "image.p50", 0.5, 0.1, now=0.9, low=0.4, high=0.6, level=1.5, drifted=("higher",), images=1
)


class _Monitor:
    """Finds every image too bright."""

    def __init__(self) -> None:
        self.seen: list[tuple[ImageFacts, Landmarks]] = []

    def observe(self, facts: ImageFacts, found: Landmarks) -> list[DriftAlarm]:
        self.seen.append((facts, found))
        return [DriftAlarm("image.p50", "higher", "raised", 0.5, 0.9, len(self.seen))]

    def report(self) -> DriftReport:
        return DriftReport(len(self.seen), 32, len(self.seen), (ROW,))


def test_an_alarm_is_a_line_and_a_number(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor: Any = _Monitor()
    monkeypatch.setattr(DriftMonitor, "of_bundle", lambda bundle: monitor)
    image = dotted_image(2)
    with running(f"net={tiny_bundle}", grpc=None) as service:
        answer = service.ask("/v1/landmarks/net?spacing_mm=0.5", png_of(image))
        text = service.ask("/metrics").body.decode()
        (told,) = service.told("drift")
    assert answer.status == 200
    ((facts, found),) = monitor.seen
    assert (facts.size, facts.spacing_mm) == (image.shape[:2], (0.5, 0.5))
    np.testing.assert_allclose(found.points[0, 0], answer.json["images"][0]["landmarks"][0]["x"])
    assert told == {
        "model": "net",
        "statistic": "image.p50",
        "change": "higher",
        "state": "raised",
        "reference": 0.5,
        "now": 0.9,
        "images": 1,
    }
    labels = 'model="net",statistic="image.p50"'
    assert f"mahtrt_drift_now{{{labels}}} 0.9" in text
    assert f"mahtrt_drift_drifted{{{labels}}} 1.0" in text
    alarms = 'mahtrt_drift_alarms_total{model="net",state="raised",statistic="image.p50"} 1.0'
    assert alarms in text
