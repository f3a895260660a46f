from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from graphs import apply, make_graph, op_counts, random_array
from onnx import helper

from mahtrt.export.passes.graph_edit import SCOPE_KEY
from mahtrt.export.passes.merge_sibling_convs import MergeSiblingConvsPass

K = 4


def heads(
    *,
    activation: str | None = "Sigmoid",
    biases: tuple[int, ...] = tuple(range(K)),
    sources: tuple[str, ...] = ("x",) * K,
    outputs: tuple[str, ...] = ("out",),
    axis: int = 1,
    filters: tuple[int, ...] = (1,) * K,
) -> ir.Model:
    nodes, constants, last = [], {}, []
    if "y" in sources:
        nodes.append(helper.make_node("Relu", ["x"], ["y"]))
    for i in range(K):
        constants[f"w{i}"] = random_array(i, filters[i], 5, 1, 1)
        inputs = [sources[i], f"w{i}"]
        if i in biases:
            constants[f"b{i}"] = random_array(10 + i, filters[i])
            inputs.append(f"b{i}")
        nodes.append(helper.make_node("Conv", inputs, [f"c{i}"], name=f"conv{i}"))
        last.append(f"c{i}")
        if activation:
            nodes.append(helper.make_node(activation, [f"c{i}"], [f"a{i}"]))
            last[-1] = f"a{i}"
    nodes.append(helper.make_node("Concat", last, ["out"], axis=axis))
    return make_graph(nodes, constants, shape=(2, 5, 6, 7), outputs=outputs)


@pytest.mark.parametrize("activation", ["Sigmoid", "Relu", None])
@pytest.mark.parametrize("axis", [1, -3])
def test_heads_become_one(activation: str | None, axis: int) -> None:
    model = heads(activation=activation, axis=axis)
    assert apply(MergeSiblingConvsPass(), model) == 1
    assert op_counts(model) == {"Conv": 1, **({activation: 1} if activation else {})}


def test_heads_of_several_filters_keep_their_order() -> None:
    model = heads(filters=(1, 3, 2, 1))
    assert apply(MergeSiblingConvsPass(), model) == 1


@pytest.mark.parametrize("biases", [(), (1, 3)])
def test_missing_biases(biases: tuple[int, ...]) -> None:
    model = heads(biases=biases)
    assert apply(MergeSiblingConvsPass(), model) == 1
    assert op_counts(model)["Conv"] == 1


def test_branches_of_different_inputs_stay() -> None:
    model = heads(sources=("x", "x", "y", "x"))
    assert apply(MergeSiblingConvsPass(), model) == 0


def test_a_branch_that_leaves_the_graph_stays() -> None:
    model = heads(outputs=("out", "a2"))
    assert apply(MergeSiblingConvsPass(), model) == 0


def test_concat_over_rows_stays() -> None:
    model = heads(axis=2)
    assert apply(MergeSiblingConvsPass(), model) == 0


def test_scopes_are_joined() -> None:
    model = heads()
    for i, node in enumerate(n for n in model.graph if n.op_type == "Conv"):
        node.metadata_props[SCOPE_KEY] = f"head.maps.{i}"
    MergeSiblingConvsPass()(model)
    assert {node.metadata_props[SCOPE_KEY] for node in model.graph} == {"head.maps"}
    assert {"head.maps.weight", "head.maps.bias"} <= set(model.graph.initializers)
    weight = model.graph.initializers["head.maps.weight"].const_value
    assert weight is not None
    expected = np.concatenate([random_array(i, 1, 5, 1, 1) for i in range(K)])
    np.testing.assert_array_equal(weight.numpy(), expected)
