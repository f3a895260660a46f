from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mahtrt.measure.accuracy import Accuracy, Annotations, LandmarkSet, measure
from mahtrt.measure.gate import Gate, judge

NAMES = ("sella", "nasion")
REFERENCE = np.array([[[10.0, 10.0], [20.0, 20.0]], [[30.0, 30.0], [40.0, 40.0]]])  # (2, 2, 2)
TAIL = Gate(budget_px=9.0, worst_landmark_px=9.0, p99_px=0.5, max_px=2.0)


def both(points_px: np.ndarray, spread_px: np.ndarray | None = None) -> LandmarkSet:
    """One network pixel is two image pixels."""
    return LandmarkSet(points_px, 2 * points_px, spread_px)


def moved(by: list[list[list[float]]]) -> Accuracy:
    return measure(both(REFERENCE + np.array(by)), both(REFERENCE), NAMES)


def jumped(by_px: float, spread_px: float, reference_px: float = 2.0) -> Accuracy:
    """One of 200 points moved, and its heatmap as wide as given; the others are 2 px wide."""
    reference, usual = np.zeros((100, 2, 2)), np.full((100, 2), 2.0)
    candidate, spread = reference.copy(), usual.copy()
    candidate[7, 1, 0], spread[7, 1], usual[7, 1] = by_px, spread_px, reference_px
    return measure(both(candidate, spread), both(reference, usual), NAMES)


@pytest.mark.parametrize(
    ("by_px", "precision", "passed"),
    [
        (0.25, "int8", True),
        (0.26, "int8", False),
        (0.26, "bf16", False),
        (0.01, "fp32", True),
        (0.02, "fp32", False),
    ],
)
def test_budget_follows_the_precision(by_px: float, precision: str, passed: bool) -> None:
    found = moved([[[by_px, 0], [by_px, 0]], [[by_px, 0], [by_px, 0]]])
    # Exactly at the budget, whatever the rounding of 10.25 - 10 was.
    found = replace(found, mean_px=by_px, max_px=by_px, per_landmark=(
        replace(found.per_landmark[0], mean_px=by_px),
    ))  # fmt: skip
    assert judge(found, Gate(), precision).passed is passed


def test_an_average_does_not_hide_a_landmark() -> None:
    names = tuple(f"p{k}" for k in range(10))
    reference = np.zeros((4, 10, 2))
    candidate = reference.copy()
    candidate[:, 7, 0] = 1.5
    found = measure(both(candidate), both(reference), names)
    verdict = judge(found, Gate(), "int8")
    assert found.mean_px == pytest.approx(0.15)
    assert verdict.reasons == ("mean displacement of p7 1.5 px is over its budget of 1 px",)


def test_fp32_holds_every_single_point() -> None:
    reference = np.zeros((100, 2, 2))
    candidate = reference.copy()
    candidate[0, 0, 0] = 0.5
    verdict = judge(measure(both(candidate), both(reference), NAMES), Gate(), "fp32")
    assert verdict.reasons == ("largest displacement 0.5 px is over its budget of 0.1 px",)


def test_budgets_in_mm() -> None:
    spacing = np.full((2, 2), 0.5)
    truth = Annotations(2 * REFERENCE, spacing)
    found = measure(both(REFERENCE + np.array([0.2, 0.0])), both(REFERENCE), NAMES, truth)
    assert judge(found, Gate(budget_mm=0.21), "int8").passed
    assert not judge(found, Gate(budget_mm=0.19), "int8").passed
    assert not judge(found, Gate(delta_mre_mm=0.02), "int8").passed
    without = moved([[[0, 0], [0, 0]], [[0, 0], [0, 0]]])
    assert "no length in mm" in judge(without, Gate(budget_mm=0.2), "int8").reasons[0]


def test_a_jump_is_judged_where_asked_for_and_only_in_a_reduced_precision() -> None:
    found = jumped(5.0, spread_px=2.0)
    assert judge(found, replace(TAIL, max_px=None), "int8").passed  # one of 200 is no percentile
    assert judge(found, TAIL, "int8").reasons == (
        "largest displacement (maps with one peak) 5 px is over its budget of 2 px",
    )
    wide = replace(TAIL, fp32_px=9.0, fp32_max_px=9.0)
    assert judge(found, wide, "fp32").passed
    assert judge(found, Gate(), "int8").passed


def test_a_jump_between_two_peaks_is_forgiven_but_not_in_the_averages() -> None:
    found = jumped(50.0, spread_px=8.0, reference_px=7.0)
    assert judge(found, TAIL, "int8").passed
    assert found.max_px == 50.0
    assert "mean displacement 0.25 px" in judge(found, Gate(budget_px=0.2), "int8").reasons[0]


def test_the_percentile_is_judged_too() -> None:
    reference, usual = np.zeros((100, 2, 2)), np.full((100, 2), 2.0)
    candidate = reference.copy()
    candidate[:3, 0, 0] = 1.0
    found = measure(both(candidate, usual), both(reference, usual), NAMES)
    (reason,) = judge(found, TAIL, "int8").reasons
    assert reason.startswith("99th percentile of displacement (maps with one peak) 1 px is over")


def test_a_map_that_the_engine_destroyed_excuses_nothing() -> None:
    found = jumped(50.0, spread_px=8.0)
    assert (found.two_peaked, found.new_two_peaks) == (0, 1)
    (reason,) = judge(found, TAIL, "int8").reasons
    assert reason.startswith("largest displacement (maps with one peak) 50 px")
    usual = np.full((2, 2), 2.0)
    everywhere = measure(both(REFERENCE + 3.0, 9 * usual), both(REFERENCE, usual), NAMES)
    assert everywhere.new_two_peaks == 4
    assert len(judge(everywhere, TAIL, "int8").reasons) == 2


def test_without_a_point_of_one_peak_the_tail_cannot_be_judged() -> None:
    found = replace(jumped(0.0, 2.0), single_peak_p99_px=None, single_peak_max_px=None)
    reasons = judge(found, TAIL, "int8").reasons
    assert len(reasons) == 2
    assert all("cannot be judged: every point has a map with two peaks" in r for r in reasons)


def test_no_landmark_may_get_worse_than_so_many_percent() -> None:
    truth = 2 * REFERENCE + np.array([10.0, 0.0])
    candidate = REFERENCE.copy()
    candidate[:, 0, 0] -= 0.1  # 0.2 image px of 10
    candidate[:, 1, 0] += 0.1  # nasion gets better by as much: the average hides both
    annotations = Annotations(truth, np.full((2, 2), np.nan))
    found = measure(both(candidate), both(REFERENCE), NAMES, annotations)
    assert found.delta_mre_px == pytest.approx(0.0, abs=1e-9)
    assert found.worst_mre_change_percent == pytest.approx(2.0)
    for precision in ("int8", "fp32"):
        gate = Gate(fp32_px=1.0, fp32_max_px=1.0, landmark_mre_percent=1.0)
        assert judge(found, gate, precision).reasons == (
            "MRE change of sella 2 % is over its budget of 1 %",
        )
        assert judge(found, replace(gate, landmark_mre_percent=3.0), precision).passed


def test_the_error_of_landmarks_cannot_be_judged_without_annotations() -> None:
    found = moved([[[0, 0], [0, 0]], [[0, 0], [0, 0]]])
    (reason,) = judge(found, Gate(landmark_mre_percent=1.0), "int8").reasons
    assert reason == "MRE change of each landmark cannot be judged: the data have no annotations"


def test_a_budget_in_mm_replaces_the_one_in_px_and_nothing_else() -> None:
    truth = Annotations(2 * REFERENCE, np.full((2, 2), 0.01))
    found = measure(both(REFERENCE + np.array([1.5, 0.0])), both(REFERENCE), NAMES, truth)
    (reason,) = judge(found, Gate(budget_mm=0.1), "int8").reasons
    assert "mean displacement of sella 1.5 px" in reason
