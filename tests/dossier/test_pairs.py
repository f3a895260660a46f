from __future__ import annotations

import numpy as np
import pytest

from mahtrt.benchmarks.accuracy_pass import Cohort
from mahtrt.dossier.pairs import compared, displacement, held_dicts
from mahtrt.measure.accuracy import Annotations, LandmarkSet
from mahtrt.measure.limits import Limits

RNG = np.random.default_rng(7)
N, K, SCALE = 12, 3, 2.5  # image pixels per network pixel
SPACING = np.tile([0.2, 0.4], (N, 1))  # (row, column)
SPACING[3:5] = np.nan
FIRST = RNG.uniform(0, 100, (N, K, 2))
SECOND = FIRST + RNG.normal(0, 0.2, (N, K, 2))


def cohort(second: np.ndarray = SECOND) -> Cohort:
    points = {name: LandmarkSet(each, SCALE * each) for name, each in (("a", FIRST), ("b", second))}
    annotations = Annotations(np.full((N, K, 2), np.nan), SPACING)
    return Cohort(("x", "y", "z"), points, annotations, "a")


def test_distances_are_those_of_an_independent_computation() -> None:
    found = cohort()
    told = displacement(found.points["b"], found.points["a"], found)
    px = [float(np.hypot(*(SECOND - FIRST)[n, k])) for n in range(N) for k in range(K)]
    mm = []
    for n in range(N):
        row_mm, column_mm = SPACING[n]
        if np.isfinite(row_mm):
            for dx, dy in SCALE * (SECOND - FIRST)[n]:
                mm.append(float(np.sqrt((dx * column_mm) ** 2 + (dy * row_mm) ** 2)))
    assert (told.images, told.images_mm) == (N, N - 2)
    for name, values in (("px", px), ("mm", mm)):
        ordered = sorted(values)
        assert getattr(told, f"mean_{name}") == pytest.approx(sum(values) / len(values), rel=1e-9)
        assert getattr(told, f"max_{name}") == pytest.approx(ordered[-1], rel=1e-9)
        rank = int(np.ceil(0.99 * len(ordered)))
        assert getattr(told, f"p99_{name}") == pytest.approx(ordered[rank - 1], rel=1e-9)
        low, high = getattr(told, f"mean_{name}_interval")
        assert low < getattr(told, f"mean_{name}") < high
    assert not told.identical


def test_the_same_landmarks_are_identical() -> None:
    found = cohort(FIRST.copy())
    told = displacement(found.points["b"], found.points["a"], found)
    assert told.identical
    assert (told.mean_px, told.max_px, told.max_mm) == (0.0, 0.0, 0.0)


def test_a_pair_is_judged_by_the_limits_of_its_precision() -> None:
    wide = Limits(budget_px=1.0)
    assert compared(cohort(), ("a", "b"), wide, "int8").passed
    strict = compared(cohort(), ("a", "b"), wide, "fp32")
    assert not strict.passed
    assert any("largest displacement" in each.reason for each in strict.held)


def test_a_landmark_that_is_not_finite_fails_and_is_written_as_null() -> None:
    broken = SECOND.copy()
    broken[0, 0] = np.nan
    pair = compared(cohort(broken), ("a", "b"), Limits(), "int8")
    told = pair.to_dict()
    assert not told["passed"]
    assert told["max_px"] is None
    assert held_dicts(pair.held)[0]["reason"] == "1 landmarks are NaN or infinite"
