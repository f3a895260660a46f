"""What a plan keeps in FP32, in graphs of every kind."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from tiny_graphs import Builder, strict_types

from mahtrt.graph.index import GraphIndex
from mahtrt.precision.emulation import emulate_half, round_to_bf16
from mahtrt.precision.float32 import float32_region
from mahtrt.precision.float_graph import float_graph
from mahtrt.precision.half import METADATA_KEY, to_half
from mahtrt.precision.types import Half
from mahtrt.targets.graph_kinds import FP32_NODES_KEY, Fp32, Int8

Run = Callable[..., list[np.ndarray]]
BOTH = pytest.mark.parametrize("dtype", ["fp16", "bf16"])
WIDTH = 32


def network() -> onnx.ModelProto:
    """first - SiLU - second - relu - (+ the SiLU's) - third."""
    b = Builder()
    first = b.conv("image", "first", 3, WIDTH)
    active = b.op("Mul", [first, b.op("Sigmoid", [first], "sigmoid")], "silu")
    second = b.op("Relu", [b.conv(active, "second", WIDTH, WIDTH)], "relu")
    total = b.op("Add", [second, active], "sum")
    return b.model({"y": b.conv(total, "third", WIDTH, WIDTH, 1)})


def region(*products: str) -> list[str]:
    graph = GraphIndex(network())
    return [graph.keys[position] for position in float32_region(graph, products)]


def test_a_region_ends_at_products_and_where_something_else_comes_in() -> None:
    assert region("first") == ["first", "sigmoid", "silu"]
    assert region("second") == ["second", "relu"]  # the sum is of another origin as well
    assert region("first", "second") == ["first", "sigmoid", "silu", "second", "relu", "sum"]
    assert region() == []


@BOTH
def test_a_half_graph_has_it_as_an_island(dtype: Half) -> None:
    half = to_half(network(), dtype, ["second"])
    onnx.checker.check_model(half, full_check=True)
    record = json.loads(next(p.value for p in half.metadata_props if p.key == METADATA_KEY))
    islands = {island["reason"]: island["nodes"] for island in record["fp32_islands"]}
    assert islands["the plan keeps it in FP32"] == ["second", "relu"]
    types, made = strict_types(half), {node.name: node.output[0] for node in half.graph.node}
    assert types[made["second"]] == onnx.TensorProto.FLOAT
    assert types[made["first"]] != onnx.TensorProto.FLOAT


@BOTH
def test_all_of_it_kept_gives_the_numbers_of_fp32(dtype: Half, run_ort: Run) -> None:
    model = network()
    image = np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)
    exact = run_ort(model, image=image)[0]
    kept = run_ort(emulate_half(model, dtype, ["first", "second", "third"]), image=image)[0]
    some = run_ort(emulate_half(model, dtype, ["first", "second"]), image=image)[0]
    rounded = run_ort(emulate_half(model, dtype), image=image)[0]
    error = [float(np.abs(found - exact).mean()) for found in (kept, some, rounded)]
    assert error[0] < 1e-6 < error[1] < error[2]


def test_products_that_see_bf16_leave_it_out(run_ort: Run) -> None:
    model = network()
    image = np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)
    exact = run_ort(model, image=image)[0]
    kept = run_ort(round_to_bf16(model, ["first", "second", "third"]), image=image)[0]
    np.testing.assert_array_equal(kept, exact)
    assert np.abs(run_ort(round_to_bf16(model, ["first"]), image=image)[0] - exact).max() > 1e-4


def test_a_graph_of_fp32_names_it_for_the_runtime() -> None:
    model = network()
    before = model.SerializeToString()
    named = float_graph(model, Int8(None, 8), ["second"])
    (entry,) = (p for p in named.metadata_props if p.key == FP32_NODES_KEY)
    assert json.loads(entry.value) == ["second", "relu"]
    assert model.SerializeToString() == before
    assert float_graph(model, Fp32()) is model
