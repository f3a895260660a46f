from __future__ import annotations

import numpy as np
import pytest

from mahtrt.measure.wide_heatmaps import (
    WIDE,
    compare_widths,
    is_wide,
    reach_px,
    usual_spread,
)

CELL_PX = 1.0
USUAL = np.full((4, 2), 2.0)
WIDTH_PX = 2.0  # standard deviation of one round peak along each axis, in the maps drawn here


def wide_in_reference(spread: np.ndarray) -> np.ndarray:
    return is_wide(spread, usual_spread(spread), CELL_PX)


def wide_in_candidate_alone(reference: np.ndarray, candidate: np.ndarray) -> np.ndarray:
    return compare_widths(np.zeros_like(reference), reference, candidate, CELL_PX).new


def one_odd(spread_px: float) -> np.ndarray:
    """Spreads of 2 px, and one other."""
    odd = USUAL.copy()
    odd[1, 0] = spread_px
    return odd


def drawn_spread(heavier: float, apart_px: float) -> tuple[float, np.ndarray]:
    """The spread of a drawn map with two round peaks, and its mean position."""
    y, x = np.mgrid[:160, :160].astype(float)
    weights = np.zeros_like(x)
    for share, at in ((heavier, 40.0), (1 - heavier, 40.0 + apart_px)):
        weights += share * np.exp(-((x - at) ** 2 + (y - 80) ** 2) / (2 * WIDTH_PX**2))
    weights /= weights.sum()
    mean = np.array([(weights * x).sum(), (weights * y).sum()])
    variance = (weights * ((x - mean[0]) ** 2 + (y - mean[1]) ** 2)).sum()
    return float(np.sqrt(variance)), mean


def test_a_heatmap_is_wide_against_its_own_landmark() -> None:
    assert np.argwhere(wide_in_reference(one_odd(6.4))).tolist() == [[1, 0]]
    assert not wide_in_reference(USUAL).any()
    assert not wide_in_reference(2.8 * USUAL).any()  # wide on every image: the landmark is so


def test_the_spread_of_two_peaks_is_that_of_both_axes() -> None:
    one = drawn_spread(1.0, 0.0)[0]
    assert one == pytest.approx(WIDTH_PX * np.sqrt(2), rel=1e-3)
    assert drawn_spread(0.5, 6 * WIDTH_PX)[0] / one == pytest.approx(2.35, abs=0.01)
    assert drawn_spread(0.5, 8 * WIDTH_PX)[0] / one == pytest.approx(WIDE, abs=0.01)


@pytest.mark.parametrize(("heavier", "apart_px"), [(0.5, 30.0), (0.7, 40.0), (0.9, 60.0)])
def test_the_reach_holds_a_jump_from_peak_to_peak(heavier: float, apart_px: float) -> None:
    usual = np.array([drawn_spread(1.0, 0.0)[0]])
    spread, before = drawn_spread(heavier, apart_px)
    _, after = drawn_spread(0.0, apart_px)  # the lighter peak won
    reach = reach_px(np.array([spread]), usual, CELL_PX)[0]
    assert np.hypot(*(after - before)) < reach
    assert apart_px <= reach * 1.001
    assert reach < 3.34 * spread
    if heavier == 0.9:  # the most uneven that is reckoned with: the reach is the distance itself
        assert reach == pytest.approx(apart_px, rel=1e-3)


def test_a_point_is_excused_only_as_far_as_its_own_heatmap_reaches() -> None:
    spread, moved = one_odd(6.5), np.zeros((4, 2))
    assert reach_px(spread, np.array([2.0, 2.0]), CELL_PX)[1, 0] == pytest.approx(20.62, abs=0.01)
    moved[1, 0] = 20.0
    assert np.argwhere(compare_widths(moved, spread, spread, CELL_PX).excused).tolist() == [[1, 0]]
    moved[1, 0] = 60.0
    assert not compare_widths(moved, spread, spread, CELL_PX).excused.any()
    moved[1, 0] = np.inf
    assert not compare_widths(moved, spread, spread, CELL_PX).excused.any()


def test_below_half_a_cell_no_spread_is_usual() -> None:
    sharp = np.full((9, 1), 0.01)  # one cell takes all
    sharp[0] = 0.5
    assert not is_wide(sharp, usual_spread(sharp), cell_px=4.0).any()
    assert is_wide(sharp, usual_spread(sharp), cell_px=0.1)[0]
    assert not reach_px(sharp, usual_spread(sharp), cell_px=4.0).any()


def test_a_heatmap_that_the_candidate_made_wide_is_told_apart() -> None:
    odd = one_odd(6.4)
    assert np.argwhere(wide_in_candidate_alone(USUAL, odd)).tolist() == [[1, 0]]
    assert not wide_in_candidate_alone(odd, USUAL).any()
    assert not wide_in_candidate_alone(odd, odd).any()
    assert not wide_in_candidate_alone(USUAL, 2.8 * USUAL).any()
    assert wide_in_candidate_alone(USUAL, 9 * USUAL).all()  # INT8 destroyed all


def test_an_unknown_spread_excuses_nothing() -> None:
    nothing, still = np.full((4, 2), np.nan), np.zeros((4, 2))
    assert not wide_in_reference(nothing).any()
    assert not compare_widths(still, nothing, nothing, CELL_PX).excused.any()
    assert not wide_in_candidate_alone(nothing, USUAL).any()
    broken = USUAL.copy()
    broken[0] = np.inf, np.nan
    assert not wide_in_candidate_alone(USUAL, broken).any()
    assert not wide_in_reference(broken).any()
    assert not compare_widths(still, broken, broken, CELL_PX).excused.any()
    one_known = USUAL.copy()
    one_known[:, 1] = np.nan
    np.testing.assert_array_equal(usual_spread(one_known), [2.0, np.nan])
    found = np.argwhere(wide_in_candidate_alone(one_known, 4 * USUAL))
    assert found.tolist() == [[n, 0] for n in range(4)]
