"""The budget of a plan: the gate's limits, a share of each, and what cannot be judged."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from mahtrt.build.planned import SHARE_OF_BUDGET, _budget
from mahtrt.measure.accuracy import Accuracy, Annotations, LandmarkSet, measure
from mahtrt.measure.budget import Budget, Cost, Found, cost_of
from mahtrt.measure.gate import Gate

WIDE = Budget(mean_px=None, worst_landmark_px=99.0)
SMALL = Cost(0.1, 0.1, 0.1, 0.1)
LIMITS = ("mean_mm", "delta_mre_mm", "landmark_mre_percent")


def accuracy(*, spacing_mm: float = 0.5, annotated: bool = True) -> Accuracy:
    """One landmark that is 1 px off the annotation, and 0.2 px more under INT8."""
    truth = np.zeros((4, 1, 2))
    reference, candidate = truth + np.array([1.0, 0.0]), truth + np.array([1.2, 0.0])
    known = Annotations(truth if annotated else truth * np.nan, np.full((4, 2), spacing_mm))
    return measure(
        LandmarkSet(candidate, candidate), LandmarkSet(reference, reference), ["sella"], known
    )


@pytest.mark.parametrize(
    ("limit", "enough", "too_little", "words"),
    [
        ("mean_mm", 0.11, 0.09, "mean displacement 0.1 mm over 0.09"),
        ("delta_mre_mm", 0.11, 0.09, "MRE change 0.1 mm over 0.09"),
        ("landmark_mre_percent", 21.0, 19.0, "MRE change of a landmark 20 % over 19"),
    ],
)
def test_millimetres_and_errors_are_held(
    limit: str, enough: float, too_little: float, words: str
) -> None:
    cost = replace(SMALL, accuracy=accuracy())
    assert cost.within(replace(WIDE, **{limit: enough}))
    assert cost.over(replace(WIDE, **{limit: too_little})) == (words,)


@pytest.mark.parametrize("limit", LIMITS)
def test_what_cannot_be_judged_is_over(limit: str) -> None:
    budget = replace(WIDE, **{limit: 99.0})
    nothing = accuracy(spacing_mm=math.nan, annotated=False)
    for known in (None, nothing):
        (words,) = replace(SMALL, accuracy=known).over(budget)
        assert "cannot be judged: the data " in words
    assert SMALL.within(WIDE)


def test_without_a_mean_in_pixels_none_is_held() -> None:
    assert Cost(50.0, 50.0, 50.0, 50.0).within(WIDE)
    assert not Cost(50.0, 50.0, 50.0, 50.0).within(Budget(worst_landmark_px=99.0))


def test_the_budget_is_a_share_of_every_limit_of_the_gate() -> None:
    gate = Gate(
        budget_px=1.0,
        worst_landmark_px=2.0,
        p99_px=3.0,
        max_px=4.0,
        budget_mm=5.0,
        delta_mre_mm=6.0,
        landmark_mre_percent=7.0,
    )
    found = _budget(gate)
    assert found.mean_px is None  # the gate judges the mean in mm instead
    assert (found.worst_landmark_px, found.p99_px, found.max_px) == pytest.approx(
        [SHARE_OF_BUDGET * limit for limit in (2.0, 3.0, 4.0)]
    )
    assert [getattr(found, limit) for limit in LIMITS] == pytest.approx(
        [SHARE_OF_BUDGET * limit for limit in (5.0, 6.0, 7.0)]
    )
    plain = _budget(Gate(budget_px=1.0))
    assert plain == Budget(SHARE_OF_BUDGET, SHARE_OF_BUDGET)


def jumped(spread_px: float, reference_px: float) -> Cost:
    """One of ten points 50 px away, with spreads as given; the others have 2 px."""
    reference = Found(np.zeros((10, 1, 2)), np.full((10, 1), 2.0))
    points, spread = np.zeros((10, 1, 2)), np.full((10, 1), 2.0)
    points[3, 0], points[4, 0] = (30.0, 40.0), (0.3, 0.4)
    spread[3, 0], reference.spread_px[3, 0] = spread_px, reference_px
    return cost_of(Found(points, spread), reference)


def test_a_two_peaked_jump_counts_for_the_gate_and_not_for_the_largest() -> None:
    cost = jumped(20.0, 19.0)
    assert cost.mean_px == pytest.approx(5.05)
    assert cost.worst_landmark_px == cost.mean_px
    assert (cost.max_px, cost.p99_px) == (0.5, 0.5)
    assert (cost.two_peaked, cost.two_peaked_max_px, cost.new_two_peaks) == (1, 50.0, 0)


def test_a_map_that_only_the_plan_spread_excuses_nothing() -> None:
    cost = jumped(20.0, 2.0)
    assert (cost.max_px, cost.p99_px) == (50.0, 50.0)
    assert (cost.two_peaked, cost.two_peaked_max_px, cost.new_two_peaks) == (0, 0.0, 1)


def test_without_a_point_of_one_peak_the_tail_is_over() -> None:
    cost = Cost(0.1, 0.1, None, None)
    assert cost.within(Budget())
    words = cost.over(Budget(p99_px=9.0, max_px=9.0))
    assert len(words) == 2
    assert all("cannot be judged: every point has a map with two peaks" in w for w in words)


def test_a_cost_is_plain_data() -> None:
    table = replace(SMALL, accuracy=accuracy()).to_dict()
    assert table["mean_mm"] == pytest.approx(0.1)
    assert table["worst_mre_change_percent"] == pytest.approx(20.0)
    assert SMALL.to_dict()["delta_mre_px"] is None
    broken = replace(accuracy(), delta_mre_px=math.inf)
    json.dumps(Cost(math.inf, 0, None, 0, accuracy=broken).to_dict(), allow_nan=False)
