"""Heatmap targets."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mahtrt.training.targets import SIGMA_CELLS, gaussian_heatmaps

NAN = math.nan


@given(st.integers(0, 15), st.integers(0, 23))
def test_the_peak_is_at_the_point(row: int, column: int) -> None:
    heatmap = gaussian_heatmaps(torch.tensor([[[float(column), float(row)]]]), (16, 24))[0, 0]
    assert heatmap.shape == (16, 24)
    assert divmod(int(heatmap.argmax()), 24) == (row, column)
    assert heatmap.max() == 1.0


@given(st.floats(0, 23), st.floats(0, 15))
def test_every_cell_is_the_gaussian_of_its_distance(x: float, y: float) -> None:
    heatmap = gaussian_heatmaps(torch.tensor([[[x, y]]]), (16, 24))[0, 0]
    for row, column in [(0, 0), (15, 23), (7, 11), (round(y), round(x))]:
        distance2 = (row - y) ** 2 + (column - x) ** 2
        expected = math.exp(-distance2 / (2 * SIGMA_CELLS**2))
        assert heatmap[row, column].item() == pytest.approx(expected, abs=1e-4)


def test_a_missing_point_has_an_empty_map() -> None:
    points = torch.tensor([[[NAN, NAN], [3.0, 4.0], [3.0, NAN]]])
    heatmaps = gaussian_heatmaps(points, (16, 24))
    assert not heatmaps[0, 0].any()
    assert heatmaps[0, 1].any()
    assert not heatmaps[0, 2].any()
