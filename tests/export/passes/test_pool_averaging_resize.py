from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from graphs import apply, make_graph, op_counts
from onnx import helper

from mahtrt.export.passes.pool_averaging_resize import PoolAveragingResizePass


def resized(*sizes: int, scales: tuple[float, ...] | None = None, **attributes: Any) -> ir.Model:
    """A Resize of (2, 3, 8, 6) to (2, 3, H, W)."""
    settings = {"mode": "linear", "coordinate_transformation_mode": "half_pixel", **attributes}
    if scales is None:
        constants = {"sizes": np.array([2, 3, *sizes])}
        inputs = ["x", "", "", "sizes"]
    else:
        constants = {"scales": np.array([1, 1, *scales], np.float32)}
        inputs = ["x", "", "scales"]
    node = helper.make_node("Resize", inputs, ["out"], **settings)
    return make_graph([node], constants, shape=(2, 3, 8, 6))


@pytest.mark.parametrize("sizes", [(4, 3), (4, 6), (8, 3)])
def test_half_the_size_is_an_average(sizes: tuple[int, int]) -> None:
    model = resized(*sizes)
    assert apply(PoolAveragingResizePass(), model, tolerance=1e-6) == 1
    assert op_counts(model) == {"AveragePool": 1}


def test_half_by_scales() -> None:
    model = resized(scales=(0.5, 0.5))
    assert apply(PoolAveragingResizePass(), model, tolerance=1e-6) == 1
    assert op_counts(model) == {"AveragePool": 1}


@pytest.mark.parametrize(
    "model",
    [
        resized(2, 3),  # a quarter of the rows: the mean of two of four
        resized(16, 12),
        resized(4, 12),
        resized(3, 3),
        resized(4, 3, mode="nearest"),
        resized(4, 3, mode="cubic"),
        resized(4, 3, antialias=1),
        resized(4, 3, coordinate_transformation_mode="align_corners"),
        resized(4, 3, coordinate_transformation_mode="asymmetric"),
        resized(scales=(0.55, 0.5)),  # four rows as well, from other places
    ],
)
def test_what_is_no_average_stays(model: ir.Model) -> None:
    assert apply(PoolAveragingResizePass(), model) == 0
    assert op_counts(model) == {"Resize": 1}


def test_a_second_run_changes_nothing() -> None:
    model = resized(4, 3)
    assert PoolAveragingResizePass()(model) == 1
    assert PoolAveragingResizePass()(model) == 0
