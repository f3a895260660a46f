from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from graphs import apply, make_graph, op_counts, random_array
from onnx import helper

from mahtrt.export.passes.fold_scaled_pool import FoldScaledPoolPass
from mahtrt.export.passes.graph_edit import constant_array

C, N, SIDE = 6, 5, 8
POOL: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}


def scaled_pool(
    *,
    scales: np.ndarray | None = None,
    flatten: str = "Reshape",
    product: str = "Gemm",
    conv: dict[str, Any] | None = None,
    pool: dict[str, Any] | None = None,
    gemm: dict[str, Any] | None = None,
    cells: int = 16,
    outputs: tuple[str, ...] = ("out",),
    batch: int = 2,
) -> ir.Model:
    kernel = random_array(1, C, 1, 1, 1) if scales is None else scales
    size = len(kernel) * cells
    constants: dict[str, np.ndarray] = {"w": kernel, "flat": np.array([batch, size])}
    if product == "Gemm":
        constants |= {"m": random_array(2, N, size), "b": random_array(3, N)}
        last = helper.make_node("Gemm", ["f", "m", "b"], ["out"], **{"transB": 1, **(gemm or {})})
    else:
        constants |= {"m": random_array(2, size, N)}
        last = helper.make_node("MatMul", ["f", "m"], ["out"])
    inputs = ["p", "flat"] if flatten == "Reshape" else ["p"]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], **(conv or {})),
        helper.make_node("MaxPool", ["c"], ["p"], **(pool or POOL)),
        helper.make_node(flatten, inputs, ["f"]),
        last,
    ]
    return make_graph(nodes, constants, shape=(batch, 1, SIDE, SIDE), outputs=outputs)


def weights(model: ir.Model) -> list[tuple[int, ...]]:
    """The shapes of the linear layers' weights."""
    products = [node for node in model.graph if node.op_type in ("Gemm", "MatMul")]
    arrays = [constant_array(node.inputs[1]) for node in products]
    return [array.shape for array in arrays if array is not None]


@pytest.mark.parametrize("flatten", ["Reshape", "Flatten"])
@pytest.mark.parametrize(("product", "shape"), [("Gemm", (N, 32)), ("MatMul", (32, N))])
def test_the_linear_layer_gets_two_columns_per_window(
    flatten: str, product: str, shape: tuple[int, int]
) -> None:
    model = scaled_pool(flatten=flatten, product=product)
    assert apply(FoldScaledPoolPass(), model, tolerance=1e-4) == 1
    assert op_counts(model) == {"Conv": 1, "MaxPool": 1, "Flatten": 1, product: 1}
    assert weights(model) == [shape]


@pytest.mark.parametrize("sign", [1, -1])
def test_scales_of_one_sign(sign: int) -> None:
    model = scaled_pool(scales=sign * np.abs(random_array(4, C, 1, 1, 1)))
    assert apply(FoldScaledPoolPass(), model, tolerance=1e-4) == 1


def test_a_pool_that_overlaps_and_pads() -> None:
    pool = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    assert apply(FoldScaledPoolPass(), scaled_pool(pool=pool), tolerance=1e-4) == 1


def test_a_second_run_changes_nothing() -> None:
    model = scaled_pool()
    FoldScaledPoolPass()(model)
    assert apply(FoldScaledPoolPass(), model) == 0


@pytest.mark.parametrize(
    "changed",
    [
        {"conv": {"strides": [2, 2]}, "pool": {"kernel_shape": [1, 1]}},
        {"gemm": {"alpha": 2.0}},
        {"outputs": ("out", "p")},
        {"scales": random_array(5, 2, 1, 1, 1)},
    ],
)
def test_what_is_left_alone(changed: dict[str, Any]) -> None:
    assert apply(FoldScaledPoolPass(), scaled_pool(**changed)) == 0
