"""Graphs of one large operation, and the arithmetic of graphs by precision."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import tiny_network as tiny
from onnx import helper

from mahtrt.graph.flops import flops_by_node
from mahtrt.graph.index import GraphIndex
from mahtrt.graph.repeated import (
    INPUT,
    LARGEST,
    OUTPUT,
    Large,
    LargeConv,
    LargeMatMul,
    dominating,
    repeated_graph,
    repeats_of,
)
from mahtrt.graph.work import flop_by_precision
from mahtrt.targets.graph_kinds import FP32_NODES_KEY
from mahtrt.targets.onnxruntime.run import open_onnx

SMALL = LargeConv((3, 1), (4, 6), (5, 7))
MATRIX = LargeMatMul(9, 8, 12)


@pytest.mark.parametrize("operation", [SMALL, MATRIX, LargeConv((2, 2), (3, 3), (8, 8))])
@pytest.mark.parametrize("int8", [False, True])
def test_every_product_has_the_arithmetic_that_the_operation_says(
    operation: Large, int8: bool
) -> None:
    graph = GraphIndex(repeated_graph(operation, int8=int8), allow_quantized=True)
    products = flops_by_node(graph)
    assert len(products) == repeats_of(operation) == 16  # as many as there are at most
    assert set(products.values()) == {operation.flop}
    total = 16 * operation.flop
    assert flop_by_precision(graph, "bf16") == ({"int8": total} if int8 else {"bf16": total})


def test_arithmetic_by_hand() -> None:
    assert SMALL.flop == 2 * (3 * 1) * 4 * 6 * (5 * 7)
    assert MATRIX.flop == 2 * 9 * 8 * 12
    assert str(LARGEST) == "Conv 3x3, 256 to 256 channels, 32x32"
    assert str(MATRIX) == "MatMul 9x8 by 8x12"
    assert repeats_of(LARGEST) * LARGEST.flop >= 4e9
    assert repeats_of(LARGEST) % 2 == 0


def test_values_keep_their_scale_and_int8_is_near_fp32() -> None:
    operation = LargeConv((3, 3), (16, 16), (8, 8))
    feed = {INPUT: np.random.default_rng(1).random(operation.shape, np.float32)}
    graphs = [repeated_graph(operation, int8=int8).SerializeToString() for int8 in (False, True)]
    exact, rounded = (open_onnx(graph, "test").run([OUTPUT], feed)[0] for graph in graphs)
    assert 1e-3 < np.abs(exact).max() < 1e3  # sixteen layers on: nothing is lost, nothing overflows
    assert np.isfinite(rounded).all()
    assert rounded.max() > 0


def test_what_dominates_a_network() -> None:
    (conv,) = dominating(GraphIndex(tiny.make_model()))
    assert conv == LargeConv((2, 2), (3, 3), tiny.CELLS)


def test_products_that_a_plan_keeps_are_fp32() -> None:
    model: onnx.ModelProto = tiny.make_model()
    model.graph.node[0].name = "first"
    whole = sum(flops_by_node(GraphIndex(model)).values())
    assert whole == 2 * 3 * 16 * 24 * (3 * 2 * 2)
    assert flop_by_precision(GraphIndex(model), "bf16") == {"bf16": whole}
    helper.set_model_props(model, {FP32_NODES_KEY: '["first"]'})
    assert flop_by_precision(GraphIndex(model), "bf16") == {"fp32": whole}
    quantized = GraphIndex(tiny.make_int8_model(), allow_quantized=True)
    assert flop_by_precision(quantized, "fp32") == {"int8": whole}
