"""Bias, spread and distances against the standard library's, and the ranking of images."""

from __future__ import annotations

import json
import math
import statistics

import numpy as np
import pytest

from mahtrt.measure.accuracy import Annotations, LandmarkSet
from mahtrt.measure.agreement import LISTED_CASES, Agreement, agreement

NAMES = ("sella", "nasion", "menton")
IMAGES = 41
SPACING_MM = (0.2, 0.1)  # (row, column)


def landmark_set(points_px: np.ndarray) -> LandmarkSet:
    """One network pixel is two image pixels."""
    return LandmarkSet(points_px, 2 * points_px)


def known(images: int = IMAGES, spacing_mm: tuple[float, float] = SPACING_MM) -> Annotations:
    names = tuple(f"{n}.png" for n in range(images))
    return Annotations(np.full((images, 3, 2), np.nan), np.tile(spacing_mm, (images, 1)), names)


def draw() -> tuple[np.ndarray, np.ndarray]:
    """Engine and reference, (IMAGES, 3, 2) in network pixels."""
    rng = np.random.default_rng(4)
    reference = rng.uniform(20, 200, (IMAGES, 3, 2))
    bias, spread = np.array([[0.2, -0.1], [0, 0], [0, 1]]), np.array([[0.1], [0.5], [0.01]])
    return reference + rng.normal(bias, spread, reference.shape), reference


def compared(moved: np.ndarray, reference: np.ndarray, about: Annotations) -> Agreement:
    return agreement(landmark_set(moved), landmark_set(reference), NAMES, about)


def nearest_rank(values: list[float], percent: int) -> float:
    return sorted(values)[math.ceil(percent / 100 * len(values)) - 1]


def test_statistics_of_a_landmark_agree_with_the_standard_library() -> None:
    moved, reference = draw()
    found = compared(moved, reference, known()).to_dict()["landmarks"]
    assert [row["name"] for row in found] == list(NAMES)
    for k, row in enumerate(found):
        x = [float(moved[n, k, 0] - reference[n, k, 0]) for n in range(IMAGES)]
        y = [float(moved[n, k, 1] - reference[n, k, 1]) for n in range(IMAGES)]
        for unit, along in (("px", (x, y)), ("mm", ([0.2 * v for v in x], [0.4 * v for v in y]))):
            distances = [abs(complex(*pair)) for pair in zip(*along, strict=True)]
            assert row[f"bias_{unit}"] == pytest.approx([statistics.fmean(v) for v in along])
            assert row[f"spread_{unit}"] == pytest.approx([statistics.stdev(v) for v in along])
            assert row[f"mean_{unit}"] == pytest.approx(statistics.fmean(distances), abs=1e-9)
            assert row[f"p95_{unit}"] == pytest.approx(nearest_rank(distances, 95), abs=1e-9)
            assert row[f"max_{unit}"] == pytest.approx(max(distances), abs=1e-9)
            low, high = row[f"mean_{unit}_interval"]
            assert low < row[f"mean_{unit}"] < high
        assert (row["points"], row["non_finite"], row["points_mm"]) == (IMAGES, 0, IMAGES)


def test_millimetres_rest_on_the_images_whose_spacing_is_known() -> None:
    moved, reference = draw()
    about = known()
    about.spacing_mm[5:] = np.nan
    row = compared(moved, reference, about).to_dict()["landmarks"][0]
    assert (row["points"], row["points_mm"]) == (IMAGES, 5)
    assert row["mean_mm_interval"] is None  # of five images
    without = compared(moved, reference, known(spacing_mm=(np.nan, np.nan)))
    document = without.to_dict()
    assert not any("mm" in name for row in document["landmarks"] for name in row)
    assert {case["spacing_mm"] for case in document["cases"]} == {None}


def test_a_point_that_is_not_finite_is_counted_and_hidden_by_no_average() -> None:
    moved, reference = draw()
    moved[7, 1] = np.nan
    found = compared(moved, reference, known())
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    sella, nasion, _ = document["landmarks"]
    assert (sella["non_finite"], nasion["non_finite"]) == (0, 1)
    assert nasion["mean_px"] is nasion["max_px"] is nasion["mean_px_interval"] is None
    assert nasion["bias_px"] == nasion["spread_px"] == [None, None]
    assert nasion["p95_px"] is not None  # 1 of 41 is above it
    worst = document["cases"][0]
    assert (worst["image"], worst["worst_landmark"], worst["max_px"]) == ("7.png", "nasion", None)
    assert worst["points_px"][1] is None
    assert worst["reference_points_px"][1] == pytest.approx(2 * reference[7, 1], abs=1e-4)


def test_images_are_ranked_by_their_largest_displacement() -> None:
    reference = np.full((IMAGES, 3, 2), 50.0)
    moved = reference.copy()
    moved[:, 0, 0] += np.arange(IMAGES) / 10
    moved[3, 2, 1] -= 9.0
    moved[4, 1:, 0] += 4.0  # as far as the last image's largest, and further in the mean
    about = known()
    about.points_px[3, :2] = 101.0
    cases = compared(moved, reference, about).to_dict()["cases"]
    assert len(cases) == LISTED_CASES
    assert [case["image"] for case in cases[:4]] == ["3.png", "4.png", "40.png", "39.png"]
    worst = cases[0]
    assert (worst["worst_landmark"], worst["max_px"]) == ("menton", 9.0)
    assert worst["mean_px"] == pytest.approx((0.3 + 9.0) / 3)
    assert worst["points_px"] == [[100.6, 100.0], [100.0, 100.0], [100.0, 82.0]]
    assert worst["reference_points_px"] == [[100.0, 100.0]] * 3
    assert worst["annotated_points_px"] == [[101.0, 101.0], [101.0, 101.0], None]
    assert cases[1]["annotated_points_px"] is None
    assert worst["spacing_mm"] == list(SPACING_MM)


def test_a_single_image_has_no_spread_and_no_interval() -> None:
    moved, reference = draw()
    found = compared(moved[:1], reference[:1], known(1)).to_dict()
    row = found["landmarks"][0]
    assert row["spread_px"] == row["spread_mm"] == [None, None]
    assert row["mean_px_interval"] is None
    assert row["bias_px"] == pytest.approx((moved[0, 0] - reference[0, 0]).tolist())
    assert len(found["cases"]) == 1
