from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mahtrt.measure.displacement import compare_points, nearest_rank, radial_error

REFERENCE = np.array([[[10.0, 10.0], [20.0, 20.0]], [[30.0, 30.0], [40.0, 40.0]]])  # (2, 2, 2)
points = hnp.arrays(np.float64, (3, 4, 2), elements=st.floats(-1e4, 1e4, width=32))


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


def test_spacing_is_row_then_column() -> None:
    points_px, truth = np.array([[[3.0, 0.0], [0.0, 4.0]]]), np.zeros((1, 2, 2))
    spacing = np.array([[0.1, 0.2]])  # rows are 0.1 mm apart, columns 0.2 mm
    np.testing.assert_allclose(radial_error(points_px, truth, spacing), [[0.6, 0.4]])
    np.testing.assert_allclose(radial_error(points_px, truth), [[3.0, 4.0]])


def test_nearest_rank_is_one_of_the_values() -> None:
    values = np.array([3.0, 1.0, np.inf, 2.0])
    assert [nearest_rank(values, percent) for percent in (1, 50, 75, 76, 100)] == [
        1.0,
        2.0,
        3.0,
        np.inf,
        np.inf,
    ]
