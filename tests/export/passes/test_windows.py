"""Blocks of a banded matrix give what the whole matrix gives."""

from __future__ import annotations

import numpy as np
import pytest

from mahtrt.export.passes.pyramid import linear_matrix
from mahtrt.export.passes.windows import ROWS_PER_BLOCK, cut


@pytest.mark.parametrize(
    ("low", "out", "taps"), [(32, 256, 3), (32, 64, 1), (24, 96, 5), (40, 100, 2), (9, 36, 3)]
)
def test_the_blocks_give_what_the_matrix_gives(low: int, out: int, taps: int) -> None:
    whole = linear_matrix(low, out)
    matrix = np.stack([np.roll(whole, tap, axis=0) for tap in range(taps)], axis=2)
    x = np.random.default_rng(0).normal(size=(low * taps, 7))
    windows = cut(matrix)
    parts = x.reshape(low, taps, 7)[windows.indices].reshape(windows.blocks, windows.depth, 7)
    ours = (windows.matrices @ parts).reshape(out, 7)
    np.testing.assert_allclose(ours, matrix.reshape(out, -1) @ x, atol=1e-5)


def test_a_window_is_a_blocks_rows_and_their_neighbours() -> None:
    windows = cut(linear_matrix(64, 256)[:, :, None])
    assert windows.blocks == 64 // ROWS_PER_BLOCK
    assert windows.depth == ROWS_PER_BLOCK + 2


def test_what_is_small_or_does_not_divide_stays_whole() -> None:
    for low, out in ((ROWS_PER_BLOCK, 64), (64, 127)):
        windows = cut(linear_matrix(low, out)[:, :, None])
        assert windows.blocks == 1
        assert windows.indices.tolist() == list(range(low))
        np.testing.assert_allclose(windows.matrices[0], linear_matrix(low, out), atol=1e-7)


def test_rows_of_zeros_read_something() -> None:
    windows = cut(np.zeros((32, 16, 1)))
    assert windows.blocks == 2
    assert not windows.matrices.any()
