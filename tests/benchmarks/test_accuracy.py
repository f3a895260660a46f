from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mahtrt.benchmarks.accuracy import (
    Accuracy,
    Annotations,
    Gate,
    LandmarkSet,
    compare_points,
    delta_interval,
    judge,
    measure,
    radial_error,
    success_rates,
)

NAMES = ("sella", "nasion")
REFERENCE = np.array([[[10.0, 10.0], [20.0, 20.0]], [[30.0, 30.0], [40.0, 40.0]]])  # (2, 2, 2)
points = hnp.arrays(np.float64, (3, 4, 2), elements=st.floats(-1e4, 1e4, width=32))


def both(points_px: np.ndarray) -> LandmarkSet:
    """One network pixel is two image pixels."""
    return LandmarkSet(network_px=points_px, image_px=2 * points_px)


def moved(by: list[list[list[float]]]) -> Accuracy:
    return measure(both(REFERENCE + np.array(by)), both(REFERENCE), NAMES)


@settings(max_examples=40)
@given(points, points, points)
def test_displacement_is_a_metric(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
    assert (compare_points(a, a) == 0).all()
    np.testing.assert_array_equal(compare_points(a, b), compare_points(b, a))
    assert (compare_points(a, c) <= compare_points(a, b) + compare_points(b, c) + 1e-6).all()


@settings(max_examples=40)
@given(points, points, st.floats(0.25, 4))
def test_displacement_scales_with_the_frame(a: np.ndarray, b: np.ndarray, scale: float) -> None:
    np.testing.assert_allclose(
        compare_points(a * scale, b * scale), scale * compare_points(a, b), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("broken", ["candidate", "reference", "both"])
def test_a_point_that_is_not_finite_is_infinitely_far(value: float, broken: str) -> None:
    bad = REFERENCE.copy()
    bad[0, 1, 0] = value
    candidate = REFERENCE if broken == "reference" else bad
    reference = REFERENCE if broken == "candidate" else bad
    np.testing.assert_array_equal(compare_points(candidate, reference), [[0, np.inf], [0, 0]])


def test_shapes_that_do_not_correspond_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \(N, K, 2\)"):
        compare_points(REFERENCE, REFERENCE[:1])
    with pytest.raises(ValueError, match=r"expected \(N >= 1, 1\)"):
        measure(both(REFERENCE), both(REFERENCE), ("only one",))


def test_spacing_is_row_then_column() -> None:
    points_px, truth = np.array([[[3.0, 0.0], [0.0, 4.0]]]), np.zeros((1, 2, 2))
    spacing = np.array([[0.1, 0.2]])  # rows are 0.1 mm apart, columns 0.2 mm
    np.testing.assert_allclose(radial_error(points_px, truth, spacing), [[0.6, 0.4]])
    np.testing.assert_allclose(radial_error(points_px, truth), [[3.0, 4.0]])


def test_measure_by_hand() -> None:
    found = moved([[[3, 4], [0, 0]], [[0, 1], [0, 0]]])
    assert (found.images, found.non_finite_points) == (2, 0)
    assert found.mean_px == pytest.approx(1.5)
    assert found.max_px == found.p99_px == pytest.approx(5)
    assert found.worst_landmark_mean_px == pytest.approx(3)
    assert [row.name for row in found.per_landmark] == list(NAMES)
    assert [row.max_px for row in found.per_landmark] == pytest.approx([5, 0])
    assert found.mre_px is None
    assert found.mean_mm is None
    assert found.sdr_percent is None


def test_annotations_give_errors_in_image_pixels_and_mm() -> None:
    candidate = REFERENCE + np.array([1.0, 0.0])  # 1 network px = 2 image px = 1 mm and 2 mm
    truth = 2 * REFERENCE
    truth[0, 1] = np.nan  # not annotated
    spacing = np.array([[0.5, 0.5], [1.0, 1.0]])
    found = measure(both(candidate), both(REFERENCE), NAMES, Annotations(truth, spacing))
    assert (found.annotated_points, found.annotated_points_mm) == (3, 3)
    assert found.mre_px == pytest.approx(2)
    assert found.mre_mm == pytest.approx((1 + 2 + 2) / 3)
    assert found.reference_mre_px == found.reference_mre_mm == 0
    assert found.delta_mre_px == pytest.approx(2)
    assert found.mean_mm == pytest.approx((1 + 1 + 2 + 2) / 4)
    assert found.max_mm == pytest.approx(2)
    assert found.sdr_percent == {2.0: 100, 2.5: 100, 3.0: 100, 4.0: 100}
    assert [row.mre_mm for row in found.per_landmark] == pytest.approx([1.5, 2.0])


def test_spacing_on_some_images_only() -> None:
    spacing = np.array([[0.5, 0.5], [np.nan, np.nan]])
    found = measure(
        both(REFERENCE),
        both(REFERENCE),
        NAMES,
        Annotations(2 * REFERENCE + np.array([4, 0]), spacing),
    )
    assert (found.annotated_points, found.annotated_points_mm) == (4, 2)
    assert found.mre_px == pytest.approx(4)
    assert found.mre_mm == pytest.approx(2)
    assert found.delta_mre_mm == 0


def test_nothing_annotated_leaves_errors_out() -> None:
    nothing = Annotations(np.full((2, 2, 2), np.nan), np.full((2, 2), 0.5))
    found = measure(both(REFERENCE + np.array([0.0, 1.0])), both(REFERENCE), NAMES, nothing)
    assert found.mre_px is None
    assert found.annotated_points == 0
    assert found.mean_mm == pytest.approx(1)  # displacement needs no annotation


def test_a_landmark_never_annotated_has_no_error() -> None:
    truth = 2 * REFERENCE
    truth[:, 1] = np.nan
    spacing = np.full((2, 2), np.nan)
    found = measure(both(REFERENCE), both(REFERENCE), NAMES, Annotations(truth, spacing))
    assert [row.mre_px for row in found.per_landmark] == [0.0, None]


def test_success_counts_errors_at_the_threshold() -> None:
    assert success_rates(np.array([2.0, 2.0000001, 3.0, 9.0])) == {2: 25, 2.5: 50, 3: 75, 4: 75}


@given(hnp.arrays(np.float64, 20, elements=st.floats(0, 8)))
def test_success_grows_with_the_threshold(errors: np.ndarray) -> None:
    rates = list(success_rates(errors).values())
    assert rates == sorted(rates)
    assert all(0 <= rate <= 100 for rate in rates)


def test_interval_is_seeded_paired_and_around_the_change() -> None:
    rng = np.random.default_rng(3)
    reference = rng.uniform(0, 50, (40, 5))  # images differ far more than engines do
    candidate = reference + rng.normal(0.1, 0.05, (40, 5))
    low, high = delta_interval(candidate, reference) or (0.0, 0.0)
    assert (low, high) == delta_interval(candidate, reference)
    assert low < 0.1 < high
    assert high - low < 0.05
    assert (low, high) != delta_interval(candidate, reference, seed=1)


def test_no_interval_from_one_image_or_broken_points() -> None:
    one = np.array([[1.0, 2.0], [np.nan, np.nan]])
    assert delta_interval(one, one) is None
    assert delta_interval(np.array([[1.0], [np.inf]]), np.array([[1.0], [1.0]])) is None


def test_broken_points_survive_every_number_and_become_null() -> None:
    bad = REFERENCE.copy()
    bad[0, 0] = np.nan
    truth = Annotations(2 * REFERENCE, np.full((2, 2), 0.5))
    found = measure(both(bad), both(REFERENCE), NAMES, truth)
    assert found.non_finite_points == 1
    assert found.max_px == found.max_mm == np.inf
    assert found.sdr_percent is not None
    assert found.sdr_percent[2.0] == 75
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["max_px"] is None
    assert document["sdr_percent"]["2.5"] == 75
    assert document["per_landmark"][1]["mre_mm"] == 0
    assert not judge(found, Gate(), "int8").passed


def test_the_other_way_round_a_broken_reference_cannot_pass() -> None:
    bad = REFERENCE.copy()
    bad[0, 0] = np.nan
    truth = Annotations(2 * REFERENCE, np.full((2, 2), 0.5))
    found = measure(both(REFERENCE), both(bad), NAMES, truth)
    assert found.max_mm == np.inf
    assert found.delta_mre_mm is None
    assert not judge(found, Gate(), "fp32").passed


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
