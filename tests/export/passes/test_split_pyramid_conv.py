from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from graphs import apply, make_graph, op_counts, random_array
from onnx import helper

from mahtrt.export.passes.graph_edit import SCOPE_KEY
from mahtrt.export.passes.name_nodes import NameNodesPass
from mahtrt.export.passes.pyramid import linear_matrix, read_levels, static_shape
from mahtrt.export.passes.remove_unused import RemoveUnusedPass
from mahtrt.export.passes.split_pyramid_conv import SplitPyramidConvPass
from mahtrt.export.passes.windows import ROWS_PER_BLOCK
from mahtrt.graph.flops import flops_by_node
from mahtrt.graph.index import GraphIndex
from mahtrt.graph.sites import is_weighted

WIDE = 64


def pyramid(
    *,
    depth: int = 2,
    channels: int = 4,
    kernel: int = 3,
    pads: tuple[int, int, int, int] = (1, 1, 1, 1),
    size: tuple[int, int] = (24, 32),
    batch: int = 1,
    bias: bool = True,
    resize: dict[str, Any] | None = None,
    by_sizes: bool = False,
    swapped: bool = False,
    outputs: tuple[str, ...] = ("out",),
    conv: dict[str, Any] | None = None,
) -> ir.Model:
    """Features by average pooling, laterals to WIDE channels, a top-down sum, a convolution."""
    constants = {"w": 0.1 * random_array(1, WIDE, WIDE, kernel, kernel), "b": random_array(2, WIDE)}
    nodes = [helper.make_node("Relu", ["x"], ["c0"])]
    below = ""
    for level in range(1, depth + 1):
        pool: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}
        nodes.append(helper.make_node("AveragePool", [f"c{level - 1}"], [f"c{level}"], **pool))
    for level in reversed(range(depth + 1)):
        constants[f"w{level}"] = random_array(10 + level, WIDE, channels, 1, 1)
        constants[f"b{level}"] = random_array(20 + level, WIDE)
        inputs = [f"c{level}", f"w{level}", *([f"b{level}"] if bias else [])]
        nodes.append(helper.make_node("Conv", inputs, [f"l{level}"]))
        if level == depth:
            below = f"l{level}"
            continue
        rows, columns = size[0] >> level, size[1] >> level
        if by_sizes:
            constants[f"sizes{level}"] = np.array([batch, WIDE, rows, columns], np.int64)
        else:
            constants["scales"] = np.array([1, 1, 2, 2], np.float32)
        how = [below, "", "", f"sizes{level}"] if by_sizes else [below, "", "scales"]
        nodes.append(
            helper.make_node("Resize", how, [f"up{level}"], **(resize or {"mode": "linear"}))
        )
        operands = [f"l{level}", f"up{level}"]
        nodes.append(helper.make_node("Add", operands[:: -1 if swapped else 1], [f"p{level}"]))
        below = f"p{level}"
    arguments: dict[str, Any] = {
        "kernel_shape": [kernel, kernel],
        "pads": list(pads),
        **(conv or {}),
    }
    if "auto_pad" in arguments:
        del arguments["pads"]
    inputs = [below, "w", *(["b"] if bias else [])]
    nodes.append(helper.make_node("Conv", inputs, ["out"], name="conv", **arguments))
    return make_graph(nodes, constants, shape=(batch, channels, *size), outputs=outputs)


def flops(model: ir.Model) -> int:
    RemoveUnusedPass()(model)
    NameNodesPass()(model)
    return sum(flops_by_node(GraphIndex(ir.to_proto(model))).values())


@pytest.mark.parametrize(("depth", "size"), [(1, (8, 8)), (2, (24, 32)), (3, (24, 32))])
def test_a_pyramid_of_any_depth_stays_what_it_was_and_gets_cheaper(
    depth: int, size: tuple[int, int]
) -> None:
    model = pyramid(depth=depth, size=size)
    before = flops(pyramid(depth=depth, size=size))
    assert apply(SplitPyramidConvPass(), model, tolerance=1e-4) == 1
    assert flops(model) < 0.7 * before


@pytest.mark.parametrize(
    "options",
    [
        {"bias": False},
        {"batch": 3},
        {"by_sizes": True},
        {"by_sizes": True, "depth": 3},
        {"swapped": True},
        {"kernel": 5, "pads": (2, 2, 2, 2)},
        {"pads": (0, 0, 0, 0)},
        {"pads": (2, 0, 1, 1)},
        {"size": (8, 40), "depth": 3},
        {"size": (64, 96)},  # long enough for windows along both axes
        {"size": (64, 24), "depth": 1, "batch": 2},  # along the rows alone
        {"size": (16, 64), "depth": 1, "batch": 2},  # along the columns alone
    ],
    ids=str,
)
def test_borders_biases_and_shapes(options: dict[str, object]) -> None:
    # The whole output is compared, borders too: there the biases meet the zero padding.
    model = pyramid(**options)  # type: ignore[arg-type]
    assert apply(SplitPyramidConvPass(), model, tolerance=1e-4) == 1


def test_an_output_is_a_product_of_its_neighbours_alone() -> None:
    model = pyramid(size=(96, 128))
    SplitPyramidConvPass()(model)
    RemoveUnusedPass()(model)
    products = [node for node in model.graph if node.op_type == "MatMul"]
    depths = [static_shape(node.inputs[0])[-1] for node in products]  # type: ignore[index]
    assert (op_counts(model)["Gather"], len(depths)) == (1, 2)
    # Three taps of a block and its neighbours, far fewer than the 24 and 32 rows and columns.
    assert max(depths) <= 3 * (ROWS_PER_BLOCK + 4)


def test_the_sum_at_full_resolution_is_gone() -> None:
    model = pyramid()
    SplitPyramidConvPass()(model)
    RemoveUnusedPass()(model)
    wide = [
        node
        for node in model.graph
        if node.op_type in ("Resize", "Concat")
        and (shape := static_shape(node.outputs[0]))
        and shape[1] == WIDE
    ]
    assert not wide


@pytest.mark.parametrize(
    "options",
    [
        {"channels": 40},  # not cheaper
        {"resize": {"mode": "nearest"}},
        {"resize": {"mode": "linear", "coordinate_transformation_mode": "align_corners"}},
        {"resize": {"mode": "linear", "antialias": 1}},
        {"resize": {"mode": "cubic"}},
        {"conv": {"strides": [2, 2]}},
        {"conv": {"dilations": [2, 2]}},
        {"conv": {"auto_pad": "SAME_UPPER"}},
        {"depth": 0},
    ],
    ids=str,
)
def test_what_is_left_alone(options: dict[str, object]) -> None:
    model = pyramid(**options)  # type: ignore[arg-type]
    before = op_counts(model)
    assert apply(SplitPyramidConvPass(), model) == 0
    assert op_counts(model) == before


def test_a_sum_that_leaves_the_graph_stays_beside_the_split() -> None:
    model = pyramid(outputs=("out", "p0"))
    assert apply(SplitPyramidConvPass(), model, tolerance=1e-4) == 1


def test_two_convolutions_share_the_joined_features() -> None:
    model = pyramid(depth=3)
    level = next(n for n in model.graph if n.outputs[0].name == "p1").outputs[0]
    weight = ir.val("v", const_value=ir.tensor(random_array(5, WIDE, WIDE, 3, 3), name="v"))
    model.graph.register_initializer(weight)
    second = ir.node("Conv", [level, weight], attributes={"pads": [1, 1, 1, 1]})
    second.outputs[0].shape, second.outputs[0].type = level.shape, level.type
    second.outputs[0].name = "second"
    model.graph.append(second)
    model.graph.outputs.append(second.outputs[0])
    assert apply(SplitPyramidConvPass(), model, tolerance=1e-3) == 2


def test_scopes_names_and_precision() -> None:
    model = pyramid()
    for node in model.graph:
        node.metadata_props[SCOPE_KEY] = "fusion.outputs.0" if node.name == "conv" else "fusion"
    SplitPyramidConvPass()(model)
    RemoveUnusedPass()(model)
    NameNodesPass()(model)
    added = {"Transpose", "Reshape", "Gather", "MatMul"}
    assert all(
        node.metadata_props[SCOPE_KEY] == "fusion.outputs.0"
        for node in model.graph
        if node.op_type in added
    )
    assert {"w.features.weight", "w.taps.weight", "w.rows", "w.columns"} <= set(
        model.graph.initializers
    )
    index = GraphIndex(ir.to_proto(model))
    weighted = {n.op_type for i, n in enumerate(index.nodes) if is_weighted(index, i)}
    assert weighted == {"Conv"}  # interpolation is never INT8


def test_the_interpolation_as_a_matrix() -> None:
    np.testing.assert_allclose(
        linear_matrix(2, 4), np.array([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]), atol=1e-12
    )
    np.testing.assert_array_equal(linear_matrix(1, 3), np.ones((3, 1)))
    np.testing.assert_array_equal(linear_matrix(5, 5), np.eye(5))
    np.testing.assert_allclose(linear_matrix(7, 18).sum(axis=1), 1)


def test_reading_stops_at_what_is_no_level() -> None:
    model = pyramid(depth=3)
    conv = next(node for node in model.graph if node.name == "conv")
    levels = read_levels(conv.inputs[0])
    assert [level.feature.name for level in levels] == ["c0", "c1", "c2"]
    assert [level.below.name for level in levels] == ["p1", "p2", "l3"]
    assert read_levels(model.graph.inputs[0]) == ()
    assert read_levels(None) == ()
