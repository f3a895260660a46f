from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from graphs import apply, make_graph, op_counts, random_array
from onnx import helper

from mahtrt.export.passes.fold_batch_norm import FoldBatchNormPass

C = 6


def statistics(prefix: str = "") -> dict[str, np.ndarray]:
    return {
        f"{prefix}scale": random_array(1, C),
        f"{prefix}shift": random_array(2, C),
        f"{prefix}mean": random_array(3, C),
        f"{prefix}var": np.abs(random_array(4, C)) + 0.1,
    }


def norm(source: str, result: str, prefix: str = "", **attributes: Any) -> onnx.NodeProto:
    names = [f"{prefix}{name}" for name in ("scale", "shift", "mean", "var")]
    return helper.make_node("BatchNormalization", [source, *names], [result], **attributes)


def conv_graph(op: str, weight: np.ndarray, *, bias: bool, **attributes: Any) -> ir.Model:
    inputs = ["x", "w", "b"] if bias else ["x", "w"]
    constants = {"w": weight, **statistics()}
    if bias:
        constants["b"] = random_array(5, C)
    nodes = [
        helper.make_node(op, inputs, ["c"], **attributes),
        norm("c", "out", epsilon=1e-3),
    ]
    return make_graph(nodes, constants, shape=(2, 4, 8, 8))


@pytest.mark.parametrize("bias", [True, False])
def test_norm_disappears_into_a_conv(bias: bool) -> None:
    model = conv_graph("Conv", random_array(0, C, 4, 3, 3), bias=bias, pads=[1] * 4)
    assert apply(FoldBatchNormPass(), model) == 1
    assert op_counts(model) == {"Conv": 1}


@pytest.mark.parametrize("group", [1, 2])
def test_norm_disappears_into_a_transposed_conv(group: int) -> None:
    weight = random_array(0, 4, C // group, 2, 2)
    model = conv_graph("ConvTranspose", weight, bias=True, strides=[2, 2], group=group)
    assert apply(FoldBatchNormPass(), model) == 1
    assert op_counts(model) == {"ConvTranspose": 1}


def test_grouped_conv() -> None:
    model = conv_graph("Conv", random_array(0, C, 2, 3, 3), bias=True, group=2)
    assert apply(FoldBatchNormPass(), model) == 1


def test_weights_shared_by_two_calls_are_folded_for_each() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c1"]),
        norm("c1", "n1", "first_"),
        helper.make_node("Relu", ["n1"], ["r"]),
        helper.make_node("Conv", ["r", "w"], ["c2"]),
        norm("c2", "out", "second_"),
    ]
    second = {name: value + 0.25 for name, value in statistics("second_").items()}
    constants = {"w": random_array(0, C, C, 1, 1), **statistics("first_"), **second}
    model = make_graph(nodes, constants, shape=(1, C, 4, 4))
    assert apply(FoldBatchNormPass(), model) == 2
    assert op_counts(model) == {"Conv": 2, "Relu": 1}


def test_norm_stays_where_the_conv_is_read_elsewhere() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        norm("c", "n"),
        helper.make_node("Add", ["c", "n"], ["out"]),
    ]
    constants = {"w": random_array(0, C, 4, 1, 1), **statistics()}
    model = make_graph(nodes, constants, shape=(1, 4, 4, 4))
    assert apply(FoldBatchNormPass(), model) == 0


def test_norm_stays_where_the_conv_leaves_the_graph() -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), norm("c", "out")]
    constants = {"w": random_array(0, C, 4, 1, 1), **statistics()}
    model = make_graph(nodes, constants, shape=(1, 4, 4, 4), outputs=("out", "c"))
    assert apply(FoldBatchNormPass(), model) == 0


def test_norm_without_a_conv_stays() -> None:
    model = make_graph([norm("x", "out")], statistics(), shape=(1, C, 4, 4))
    assert apply(FoldBatchNormPass(), model) == 0
