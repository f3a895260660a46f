from __future__ import annotations

import numpy as np
import pytest
from heatmap_cases import SIGMA, SIZE, gaussian, one_hot
from hypothesis import given
from hypothesis import strategies as st

from mahtrt.runtime.dark import decode_dark, gaussian_kernel, smooth

WIDTH, HEIGHT = SIZE[1], SIZE[0]


def decoded(heatmap: np.ndarray, sigma: float = SIGMA) -> tuple[np.ndarray, float, float]:
    points, confidence, spread = decode_dark(heatmap, sigma, SIZE)
    return points, float(confidence), float(spread)


@pytest.mark.parametrize(("sigma", "cells"), [(2.0, 11), (3.0, 17), (0.3, 3)])
def test_the_kernel_has_the_papers_width_and_keeps_sums(sigma: float, cells: int) -> None:
    kernel = gaussian_kernel(sigma)
    assert len(kernel) == cells
    assert kernel.sum() == pytest.approx(1)
    assert np.array_equal(kernel, kernel[::-1])


def test_smoothing_is_a_gaussian_and_zeros_are_around_the_map() -> None:
    smoothed = smooth(one_hot(20, 20), SIGMA)
    kernel = gaussian_kernel(SIGMA)
    assert smoothed[15:26, 15:26] == pytest.approx(np.outer(kernel, kernel))
    assert smoothed.sum() == pytest.approx(1)
    assert smooth(one_hot(0, 0), SIGMA).sum() == pytest.approx(kernel[5:].sum() ** 2)


@given(x=st.floats(8, WIDTH - 9), y=st.floats(8, HEIGHT - 9), height=st.floats(0.01, 100))
def test_a_gaussian_is_found_between_the_cells(x: float, y: float, height: float) -> None:
    points, confidence, spread = decoded(height * gaussian(x, y))
    np.testing.assert_allclose(points, [x, y], atol=1e-4)
    assert 0.9 * height < confidence <= height
    assert spread == pytest.approx(SIGMA, rel=0.03)


def test_noise_that_raises_one_cell_does_not_move_the_landmark_there() -> None:
    heatmap = gaussian(20, 20)
    heatmap[22, 22] += 0.5  # now the highest cell but one, and beside the peak's middle
    heatmap[40, 5] += 1.2  # the highest of all
    points, confidence, _ = decoded(heatmap)
    assert np.abs(points - 20).max() < 0.5
    assert confidence == pytest.approx(1.2, abs=1e-6)


@pytest.mark.parametrize(("x", "y"), [(0, 0), (WIDTH - 1, 20), (20, 0), (5, HEIGHT - 1)])
def test_at_the_border_the_landmark_is_the_cell(x: int, y: int) -> None:
    points, confidence, _ = decoded(one_hot(x, y))
    assert points.tolist() == [x, y]
    assert confidence == 1


@pytest.mark.parametrize("value", [0.0, 1.0, 0.3])
def test_a_flat_map_has_its_landmark_in_the_first_of_its_highest_cells(value: float) -> None:
    points, confidence, spread = decoded(np.full(SIZE, value))
    # Zeros around the map make its smoothed middle a plateau, with a corner to step in from.
    corner = len(gaussian_kernel(SIGMA)) // 2 + 0.5 if value else 0
    assert points == pytest.approx([corner, corner])
    assert confidence == pytest.approx(value)
    assert spread > 15


def test_of_two_equal_peaks_the_first_row_wins_and_the_spread_tells() -> None:
    points, _, spread = decoded(gaussian(30, 10) + gaussian(10, 30))
    np.testing.assert_allclose(points, [30, 10], atol=1e-3)
    assert spread == pytest.approx(np.hypot(10, 10), rel=0.02)


def test_a_map_without_a_value_above_zero_has_no_step_and_the_widest_spread() -> None:
    points, confidence, spread = decoded(-gaussian(20, 20) - 0.5)
    assert points.tolist() == [0, 0]  # zeros around it raise its corner
    assert confidence == pytest.approx(-0.5, abs=1e-6)
    assert spread == pytest.approx(np.sqrt((HEIGHT**2 - 1 + WIDTH**2 - 1) / 12))


def test_a_peak_too_wide_for_a_step_stays_on_its_cell() -> None:
    points, _, _ = decoded(gaussian(20.3, 20.3, 60))
    assert np.array_equal(points, np.round(points))


def test_pixels_of_the_input_and_leading_axes() -> None:
    maps = np.stack([gaussian(10, 20), gaussian(30.5, 11.25)]).reshape(2, 1, *SIZE)
    points, confidence, spread = decode_dark(maps, SIGMA, (4 * HEIGHT, 2 * WIDTH))
    assert (points.shape, confidence.shape, spread.shape) == ((2, 1, 2), (2, 1), (2, 1))
    cells = np.array([[10, 20], [30.5, 11.25]])
    np.testing.assert_allclose(points[:, 0], (cells + 0.5) * [2, 4] - 0.5, atol=1e-3)
