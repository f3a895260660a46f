"""A monitor on synthetic statistics: what it flags, what it leaves alone, and when it is over."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mahtrt.data.preprocess import Placement
from mahtrt.monitoring.drift import DriftAlarm, DriftMonitor
from mahtrt.monitoring.facts import ImageFacts
from mahtrt.monitoring.reference import reference_of
from mahtrt.monitoring.statistics import values_of
from mahtrt.runtime.landmarks import Landmarks

NAMES = ("sella", "nasion", "menton")
PLACEMENT = Placement((0.5, 0.5), (0.0, 0.0))


class Images:
    """Facts and results as a service sees them, drawn at random."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def draw(
        self, brighter: float = 0.0, confidence: float = 0.0, spacing: float | None = 0.1
    ) -> tuple[ImageFacts, Landmarks]:
        p5, p50, p95 = np.sort(self.rng.normal([0.1, 0.5, 0.8], 0.04) + brighter)
        detail = float(self.rng.gamma(20, 0.002))
        spacing_mm = None if spacing is None else (spacing, spacing)
        facts = ImageFacts((512, 480), 8, 1, spacing_mm, p5, p50, p95, 0.0, detail)
        points = self.rng.normal(250, 60, (3, 2)).astype(np.float32)
        sure = (self.rng.beta(20, 3, 3) + confidence).astype(np.float32)
        spread = self.rng.gamma(30, 0.1, 3).astype(np.float32)
        wide = self.rng.random(3) < 0.01
        found = Landmarks(points, sure, spread, NAMES, spacing_mm, None, wide, placement=PLACEMENT)
        return facts, found


def monitor_of(images: int, seed: int) -> tuple[DriftMonitor, Images]:
    drawn = Images(seed)
    rows = [values_of(*drawn.draw()) for _ in range(images)]
    return DriftMonitor(reference_of(rows, "tiny-fp32")), drawn


def names(alarms: list[DriftAlarm]) -> set[str]:
    return {f"{alarm.statistic} {alarm.change} {alarm.state}" for alarm in alarms}


@pytest.mark.parametrize(("images", "seed"), [(32, 1), (64, 2), (200, 3)])
def test_nothing_is_flagged_on_2000_images_of_the_same_kind(images: int, seed: int) -> None:
    monitor, drawn = monitor_of(images, seed)
    alarms = [alarm for _ in range(2000) for alarm in monitor.observe(*drawn.draw())]
    assert alarms == []
    assert monitor.report().images == 2000
    assert monitor.report().drifted == ()


@pytest.mark.parametrize("images", [32, 64, 200])
@pytest.mark.parametrize(
    ("shift", "flagged"),
    [
        ({"brighter": 0.08}, "image.p50 higher raised"),
        ({"brighter": -0.08}, "image.p50 lower raised"),
        ({"confidence": -0.15}, "landmark.sella.confidence lower raised"),
        ({"spacing": 0.11}, "image.spacing_mm higher raised"),
        ({"spacing": None}, "image.has_spacing lower raised"),
    ],
)
def test_a_shift_is_flagged_within_200_images(
    images: int, shift: dict[str, float | None], flagged: str
) -> None:
    monitor, drawn = monitor_of(images, seed=3)
    for _ in range(100):
        monitor.observe(*drawn.draw())
    alarms = [a for _ in range(200) for a in monitor.observe(*drawn.draw(**shift))]  # type: ignore[arg-type]
    assert flagged in names(alarms)
    assert len(names(alarms)) == len(alarms), "each alarm is raised once"


def test_an_alarm_is_cleared_when_images_are_as_before() -> None:
    monitor, drawn = monitor_of(64, seed=4)
    raised = [a for _ in range(60) for a in monitor.observe(*drawn.draw(brighter=0.2))]
    assert "image.p50" in monitor.report().drifted
    cleared = [a for _ in range(200) for a in monitor.observe(*drawn.draw())]
    assert {a.state for a in raised} == {"raised"}
    assert {a.state for a in cleared} == {"cleared"}
    assert len(cleared) == len(raised) == monitor.report().alarms
    assert monitor.report().drifted == ()


def test_a_reference_that_is_too_small_flags_nothing_and_says_so() -> None:
    monitor, drawn = monitor_of(2, seed=5)
    alarms = [a for _ in range(300) for a in monitor.observe(*drawn.draw(brighter=0.3))]
    assert alarms == []
    assert all(row.low is None for row in monitor.report().statistics)


def test_an_unknown_value_is_passed_by() -> None:
    monitor, drawn = monitor_of(32, seed=6)
    facts, found = drawn.draw()
    found.confidence[:] = math.nan
    monitor.observe(facts, found)
    rows = {row.name: row for row in monitor.report().statistics}
    assert rows["landmarks.confidence"].images == 0
    assert rows["landmarks.confidence"].now is None
    assert rows["image.p50"].images == 1
