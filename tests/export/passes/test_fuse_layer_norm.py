from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from graphs import apply, make_graph, op_counts, random_array
from onnx import helper

from mahtrt.export.passes.fuse_layer_norm import FuseLayerNormPass

N = 8


def layer_norm(
    *,
    square: str = "Mul",
    divide: str = "Div",
    axis: int = -1,
    width: int = N,
    epsilon_shape: tuple[int, ...] = (),
) -> ir.Model:
    deviations = ["d", "d"] if square == "Mul" else ["d", "two"]
    normal = (
        [helper.make_node("Div", ["d", "std"], ["n"])]
        if divide == "Div"
        else [
            helper.make_node("Reciprocal", ["std"], ["r"]),
            helper.make_node("Mul", ["r", "d"], ["n"]),
        ]
    )
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=1),
        helper.make_node("Sub", ["x", "mean"], ["d"]),
        helper.make_node(square, deviations, ["dd"]),
        helper.make_node("ReduceMean", ["dd", "axes"], ["var"], keepdims=1),
        helper.make_node("Add", ["var", "eps"], ["ve"]),
        helper.make_node("Sqrt", ["ve"], ["std"]),
        *normal,
        helper.make_node("Mul", ["scale", "n"], ["s"]),
        helper.make_node("Add", ["bias", "s"], ["out"]),
    ]
    constants: dict[str, Any] = {
        "axes": np.array([axis], np.int64),
        "two": np.float32(2.0),
        "eps": np.full(epsilon_shape, 1e-3, np.float32),
        "scale": random_array(1, width),
        "bias": random_array(2, width),
    }
    return make_graph(nodes, constants, shape=(2, 5, N))


@pytest.mark.parametrize("square", ["Mul", "Pow"])
@pytest.mark.parametrize("divide", ["Div", "Reciprocal"])
@pytest.mark.parametrize("axis", [-1, 2])
def test_pieces_become_one_node(square: str, divide: str, axis: int) -> None:
    model = layer_norm(square=square, divide=divide, axis=axis)
    assert apply(FuseLayerNormPass(), model) == 1
    assert op_counts(model) == {"LayerNormalization": 1}
    (node,) = model.graph
    assert node.attributes["epsilon"].as_float() == pytest.approx(1e-3)


def test_norm_over_another_axis_stays() -> None:
    assert apply(FuseLayerNormPass(), layer_norm(axis=1)) == 0


def test_scale_that_is_no_vector_of_the_axis_stays() -> None:
    assert apply(FuseLayerNormPass(), layer_norm(width=1)) == 0


@pytest.mark.parametrize(("shape", "fused"), [((1, 1, 1), 1), ((1, 1, 1, 1), 0)])
def test_an_epsilon_that_adds_an_axis_stays(shape: tuple[int, ...], fused: int) -> None:
    assert apply(FuseLayerNormPass(), layer_norm(epsilon_shape=shape)) == fused
