from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mahtrt.bundle.records import AccuracyRecord
from mahtrt.measure.accuracy import LISTED_POINTS, Annotations, LandmarkSet, measure, success_rates
from mahtrt.measure.displacement import compare_points
from mahtrt.measure.limits import Limits
from mahtrt.schema import plain

NAMES = ("sella", "nasion")
REFERENCE = np.array([[[10.0, 10.0], [20.0, 20.0]], [[30.0, 30.0], [40.0, 40.0]]])  # (2, 2, 2)


def both(points_px: np.ndarray, spread_px: np.ndarray | None = None) -> LandmarkSet:
    """One network pixel is two image pixels."""
    return LandmarkSet(points_px, 2 * points_px, spread_px)


def moved(by: list[list[list[float]]]) -> AccuracyRecord:
    return measure(both(REFERENCE + np.array(by)), both(REFERENCE), NAMES)


def test_shapes_that_do_not_correspond_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \(N, K, 2\)"):
        compare_points(REFERENCE, REFERENCE[:1])
    with pytest.raises(ValueError, match=r"expected \(N >= 1, 1\)"):
        measure(both(REFERENCE), both(REFERENCE), ("only one",))


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
    assert found.sdr_percent == {"2": 100, "2.5": 100, "3": 100, "4": 100}
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


def test_an_error_that_grows_on_images_without_spacing_is_seen() -> None:
    truth = np.zeros((2, 1, 2))
    reference, candidate = truth.copy(), truth.copy()
    reference[:, 0, 0] = 10.0, 14.1
    candidate[:, 0, 0] = 10.0, 52.3
    spacing = np.array([[0.1, 0.1], [np.nan, np.nan]])
    ours, theirs = LandmarkSet(candidate, candidate), LandmarkSet(reference, reference)
    found = measure(ours, theirs, ("sella",), Annotations(truth, spacing))
    assert found.per_landmark[0].mre_mm == found.per_landmark[0].reference_mre_mm == 1.0
    assert found.worst_mre_change_percent == pytest.approx(100 * (62.3 / 24.1 - 1))
    turned = measure(theirs, ours, ("sella",), Annotations(truth, spacing))
    assert turned.worst_mre_change_percent == 0.0  # the worse of both: it did not grow in mm


def test_where_every_image_has_a_spacing_errors_grow_in_mm() -> None:
    truth = np.zeros((2, 1, 2))
    reference, candidate = truth.copy(), truth.copy()
    reference[:, 0, 0] = 10.0, 10.0
    candidate[:, 0, 0] = 11.0, 20.0
    spacing = np.array([[1.0, 1.0], [0.1, 0.1]])
    ours, theirs = LandmarkSet(candidate, candidate), LandmarkSet(reference, reference)
    found = measure(ours, theirs, ("sella",), Annotations(truth, spacing))
    assert found.worst_mre_change_percent == pytest.approx(100 * (13 / 11 - 1))


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
    rates = success_rates(np.array([2.0, 2.0000001, 3.0, 9.0]))
    assert rates == {"2": 25, "2.5": 50, "3": 75, "4": 75}


@pytest.mark.parametrize("x_px", [0.0, 0.1, 123.4, 987.3, 1934.7])
@pytest.mark.parametrize(("by_px", "spacing_mm"), [((20, 0), 0.1), ((12, 16), 0.1), ((0, 8), 0.25)])
def test_success_at_the_threshold_does_not_depend_on_where_the_point_lies(
    x_px: float, by_px: tuple[float, float], spacing_mm: float
) -> None:
    truth = np.array([[[x_px, x_px]]])
    found_px = LandmarkSet(truth, truth + np.array(by_px))
    known = Annotations(truth, np.full((1, 2), spacing_mm))
    found = measure(found_px, found_px, ("sella",), known)
    assert found.sdr_percent == {"2": 100, "2.5": 100, "3": 100, "4": 100}


@given(hnp.arrays(np.float64, 20, elements=st.floats(0, 8)))
def test_success_grows_with_the_threshold(errors: np.ndarray) -> None:
    rates = list(success_rates(errors).values())
    assert rates == sorted(rates)
    assert all(0 <= rate <= 100 for rate in rates)


def test_broken_points_survive_every_number_and_become_null() -> None:
    bad = REFERENCE.copy()
    bad[0, 0] = np.nan
    truth = Annotations(2 * REFERENCE, np.full((2, 2), 0.5))
    found = measure(both(bad), both(REFERENCE), NAMES, truth)
    assert found.non_finite_points == 1
    assert found.max_px == found.max_mm == np.inf
    assert found.sdr_percent is not None
    assert found.sdr_percent["2"] == 75
    document = json.loads(json.dumps(plain(found), allow_nan=False))
    assert document["max_px"] is None
    assert document["sdr_percent"]["2.5"] == 75
    assert document["per_landmark"][1]["mre_mm"] == 0
    assert not Limits().judge(found, "int8").passed


def test_the_other_way_round_a_broken_reference_cannot_pass() -> None:
    bad = REFERENCE.copy()
    bad[0, 0] = np.nan
    truth = Annotations(2 * REFERENCE, np.full((2, 2), 0.5))
    found = measure(both(REFERENCE), both(bad), NAMES, truth)
    assert found.max_mm == np.inf
    assert found.delta_mre_mm is None
    assert not Limits().judge(found, "fp32").passed


def test_points_with_a_wide_heatmap_are_counted_apart_and_listed() -> None:
    reference, usual = np.zeros((50, 2, 2)), np.full((50, 2), 2.0)
    candidate, spread = reference + np.array([0.1, 0.0]), usual.copy()
    candidate[3, 1, 0], spread[3, 1], usual[3, 1] = 7.0, 9.0, 9.0
    candidate[4, 1, 0], usual[4, 1] = 8.0, 9.5  # wide in the reference alone
    names = tuple(f"{n}.png" for n in range(50))
    nothing = Annotations(np.full((50, 2, 2), np.nan), np.full((50, 2), np.nan), names)
    found = measure(both(candidate, spread), both(reference, usual), NAMES, nothing)
    assert (found.two_peaked, found.two_peaked_max_px) == (2, 8.0)
    assert [row.two_peaked for row in found.per_landmark] == [0, 2]
    assert found.max_px == 8.0
    assert found.single_peak_max_px == found.single_peak_p99_px == pytest.approx(0.1)
    first, second = plain(found)["two_peaked_points"]
    assert first == {
        "image": "4.png",
        "landmark": "nasion",
        "moved_px": 8.0,
        "spread_px": 2.0,
        "reference_spread_px": 9.5,
        "usual_spread_px": 2.0,
        "new": False,
        "reach_px": pytest.approx(30.96, abs=0.01),
    }
    assert found.two_peaked_excused == 2
    assert (second["image"], second["moved_px"]) == ("3.png", 7.0)
    assert (found.new_two_peaks, found.new_two_peaks_max_px) == (0, None)
    unnamed = measure(both(candidate, spread), both(reference, usual), NAMES)
    assert [point.image for point in unnamed.two_peaked_points] == ["4", "3"]


def test_heatmaps_that_the_engine_alone_made_wide_are_listed_and_judged() -> None:
    reference, usual = np.zeros((50, 2, 2)), np.full((50, 2), 2.0)
    candidate, spread = reference + np.array([0.1, 0.0]), usual.copy()
    candidate[3, 1, 0], spread[3, 1] = 7.0, 9.0
    found = measure(both(candidate, spread), both(reference, usual), NAMES)
    assert (found.two_peaked, found.two_peaked_max_px) == (0, None)
    assert (found.new_two_peaks, found.new_two_peaks_max_px) == (1, 7.0)
    assert found.single_peak_max_px == found.max_px == 7.0
    (point,) = found.two_peaked_points
    assert (point.image, point.landmark, point.new, point.reach_px) == ("3", "nasion", True, None)
    assert [row.two_peaked for row in found.per_landmark] == [0, 0]


def test_the_list_of_points_with_a_wide_heatmap_is_bounded() -> None:
    reference, usual = np.zeros((60, 2, 2)), np.full((60, 2), 2.0)
    candidate, spread = reference.copy(), usual.copy()
    candidate[:25, 0, 0], usual[:25, 0] = np.arange(25), 9.0
    found = measure(both(candidate, spread), both(reference, usual), NAMES)
    assert found.two_peaked == 25
    moved_px = [point.moved_px for point in found.two_peaked_points]
    assert moved_px == [float(24 - i) for i in range(LISTED_POINTS)]


@pytest.mark.parametrize("unknown", ["none", "nan"])
def test_without_spread_no_point_is_excused(unknown: str) -> None:
    spread = None if unknown == "none" else np.full((2, 2), np.nan)
    found = measure(both(REFERENCE + 1.0, spread), both(REFERENCE, spread), NAMES)
    assert found.two_peaked is None
    assert found.per_landmark[0].two_peaked is None
    assert found.single_peak_max_px == found.max_px


def test_a_broken_point_is_no_matter_of_its_heatmap() -> None:
    candidate, spread = REFERENCE.copy(), np.full((2, 2), 2.0)
    candidate[0, 0], spread[0, 0] = np.nan, 99.0
    found = measure(both(candidate, spread), both(REFERENCE, np.full((2, 2), 2.0)), NAMES)
    assert (found.two_peaked, found.new_two_peaks) == (0, 0)
    assert found.single_peak_max_px == np.inf
    assert found.mean_px_interval is None
    assert plain(found)["single_peak_p99_px"] is None


def test_change_of_each_landmark_and_of_sdr() -> None:
    rng = np.random.default_rng(2)
    truth = rng.uniform(100, 900, (60, 2, 2))
    reference = truth + rng.normal(0, 3, truth.shape)
    candidate = reference.copy()
    candidate[:, 1] = truth[:, 1] + 1.1 * (reference[:, 1] - truth[:, 1])  # 10% worse
    found = measure(
        LandmarkSet(candidate, candidate),
        LandmarkSet(reference, reference),
        NAMES,
        Annotations(truth, np.full((60, 2), 0.5)),
    )
    sella, nasion = found.per_landmark
    assert (sella.mre_change_percent, nasion.mre_change_percent) == pytest.approx((0.0, 10.0))
    assert nasion.mre_change_percent_interval == pytest.approx((10.0, 10.0))
    assert found.worst_mre_change_percent == nasion.mre_change_percent
    assert nasion.reference_mre_mm is not None
    assert nasion.mre_mm == pytest.approx(1.1 * nasion.reference_mre_mm)
    assert nasion.reference_mre_px == pytest.approx(2 * nasion.reference_mre_mm)
    assert found.sdr_percent is not None
    assert found.reference_sdr_percent is not None
    assert found.delta_sdr_percent is not None
    assert found.delta_sdr_percent_interval is not None
    for threshold, change in found.delta_sdr_percent.items():
        assert change is not None
        assert change == found.sdr_percent[threshold] - found.reference_sdr_percent[threshold]
        interval = found.delta_sdr_percent_interval[threshold]
        assert interval is not None
        assert interval[0] <= change <= interval[1]
    assert (found.delta_sdr_percent["2"] or 0.0) < 0
    low, high = found.mean_px_interval or (0.0, 0.0)
    assert found.mean_px is not None
    assert low < found.mean_px < high
    document = json.loads(json.dumps(plain(found), allow_nan=False))
    assert set(document["delta_sdr_percent_interval"]) == {"2", "2.5", "3", "4"}


def test_growth_from_nothing_is_infinite_and_null() -> None:
    found = measure(
        both(REFERENCE + 1.0),
        both(REFERENCE),
        NAMES,
        Annotations(2 * REFERENCE, np.full((2, 2), np.nan)),
    )
    assert found.worst_mre_change_percent == np.inf
    assert plain(found)["worst_mre_change_percent"] is None
    assert found.sdr_percent is found.delta_sdr_percent is None
    limits = Limits(budget_px=9, worst_landmark_px=9, landmark_mre_percent=9)
    assert limits.judge(found, "int8").reasons == (
        "MRE change of sella inf % is over its budget of 9 %",
    )
