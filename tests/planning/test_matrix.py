from __future__ import annotations

import json
import math

import numpy as np
import pytest
from planning_fixtures import matrix

from mahtrt.planning.matrix import cells_of, summary_rows

NO_SPREAD = np.full((4, 1), np.nan)
ONE_WIDE = np.array([[1.0], [1.0], [9.0], [1.0]])


def test_a_shift_is_bias_and_no_spread() -> None:
    shift = np.tile([3.0, 4.0], (4, 1, 1))
    (cell,) = cells_of(shift, NO_SPREAD, 1.0)
    assert (cell.mean_px, cell.bias_px, cell.max_px) == (5.0, 5.0, 5.0)
    assert cell.spread_px == 0.0


def test_a_jitter_is_spread_and_no_bias() -> None:
    shift = np.array([[[1.0, 0]], [[-1.0, 0]], [[0, 1.0]], [[0, -1.0]]])
    (cell,) = cells_of(shift, NO_SPREAD, 1.0)
    assert cell.bias_px == 0.0
    assert (cell.spread_px, cell.mean_px) == (1.0, 1.0)


def test_bias_and_spread_make_up_the_mean_square() -> None:
    shift = np.random.default_rng(0).normal(0.3, 1.0, (50, 3, 2))
    for k, cell in enumerate(cells_of(shift, np.full((50, 3), np.nan), 1.0)):
        square = (shift[:, k] ** 2).sum(axis=1).mean()
        assert cell.bias_px**2 + cell.spread_px**2 == pytest.approx(square)


def test_a_point_that_its_wide_heatmap_excuses_is_counted_apart() -> None:
    shift = np.array([[[0.1, 0]], [[0.1, 0]], [[9.0, 0]], [[0.1, 0]]])
    (cell,) = cells_of(shift, ONE_WIDE, 1.0)
    assert cell.max_px == pytest.approx(0.1)
    assert (cell.two_peaked, cell.two_peaked_max_px) == (1, 9.0)
    assert cell.mean_px == pytest.approx((3 * 0.1 + 9) / 4)  # over all, as the gate counts


def test_a_wide_heatmap_excuses_no_more_than_it_can_jump() -> None:
    shift = np.array([[[0.1, 0]], [[0.1, 0]], [[60.0, 0]], [[0.1, 0]]])
    (cell,) = cells_of(shift, ONE_WIDE, 1.0)
    assert (cell.max_px, cell.two_peaked, cell.two_peaked_max_px) == (60.0, 1, 60.0)


def test_a_broken_point_is_no_matter_of_its_heatmap() -> None:
    shift = np.zeros((4, 1, 2))
    shift[2] = math.nan
    (cell,) = cells_of(shift, ONE_WIDE, 1.0)
    assert (cell.mean_px, cell.max_px, cell.two_peaked) == (math.inf, math.inf, 0)


def test_a_point_that_is_not_finite_is_infinitely_far() -> None:
    shift = np.array([[[0.1, 0]], [[math.nan, 0]], [[0, 0]], [[0, 0]]])
    (cell,) = cells_of(shift, NO_SPREAD, 1.0)
    assert cell.mean_px == math.inf
    text = matrix((cell,)).to_json()
    assert json.loads(text)["blocks"][0]["cells"][0]["mean_px"] is None


def test_the_costliest_block_comes_first() -> None:
    rows = summary_rows(matrix())
    assert [row["block"] for row in rows] == ["b", "a"]
    assert (rows[0]["worst_landmark"], rows[0]["worst_px"]) == ("sella", 0.3)
    assert rows[0]["two_peaked"] == 1
