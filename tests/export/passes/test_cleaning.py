"""The passes that remove: constants, no-ops, what is unused, what the exporter noted."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import apply, make_graph, op_counts, random_array
from onnx import helper

from mahtrt.export.passes.fold_constants import FoldConstantsPass
from mahtrt.export.passes.remove_no_ops import RemoveNoOpsPass
from mahtrt.export.passes.remove_unused import RemoveUnusedPass
from mahtrt.export.passes.simplify import SimplifyPass
from mahtrt.export.passes.strip_metadata import StripMetadataPass


def test_transposed_weight_becomes_a_constant() -> None:
    nodes = [
        helper.make_node("Transpose", ["w"], ["wt"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "wt"], ["out"]),
    ]
    model = make_graph(nodes, {"w": random_array(0, 300, 200)}, shape=(2, 3, 200))
    assert apply(FoldConstantsPass(), model) == 1
    assert op_counts(model) == {"MatMul": 1}


def test_reshape_of_reshape_becomes_one() -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "flat"], ["f"]),
        helper.make_node("Reshape", ["f", "shape"], ["out"]),
    ]
    constants = {"flat": np.array([24], np.int64), "shape": np.array([4, 6], np.int64)}
    model = make_graph(nodes, constants, shape=(2, 3, 4))
    assert apply(SimplifyPass(), model) == 1


def test_no_ops_disappear() -> None:
    nodes = [
        helper.make_node("Identity", ["x"], ["i"]),
        helper.make_node("Pad", ["i", "none"], ["p"]),
        helper.make_node("Reshape", ["p", "same"], ["r"]),
        helper.make_node(
            "Resize",
            ["r", "", "", "same"],
            ["z"],
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        ),
        helper.make_node("Relu", ["z"], ["out"]),
    ]
    constants = {"none": np.zeros(8, np.int64), "same": np.array([1, 2, 4, 4], np.int64)}
    model = make_graph(nodes, constants, shape=(1, 2, 4, 4))
    assert apply(RemoveNoOpsPass(), model) == 4
    assert op_counts(model) == {"Relu": 1}


def test_pad_and_resize_that_do_something_stay() -> None:
    nodes = [
        helper.make_node("Pad", ["x", "one"], ["p"]),
        helper.make_node("Resize", ["p", "", "", "size"], ["out"], mode="linear"),
    ]
    pads = np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    model = make_graph(
        nodes, {"one": pads, "size": np.array([1, 2, 9, 9], np.int64)}, shape=(1, 2, 4, 4)
    )
    assert apply(RemoveNoOpsPass(), model) == 0


@pytest.mark.parametrize(("factor", "removed"), [(1.0, 1), (1.2, 0)])
@pytest.mark.parametrize("opset", [10, 19])
def test_a_resize_to_the_same_size_stays_where_it_samples_elsewhere(
    factor: float, removed: int, opset: int
) -> None:
    factors = np.array([1.0, 1.0, factor, factor], np.float32)  # 4 times 1.2 is 4 pixels again
    mode = {"mode": "linear"} if opset == 10 else {"mode": "linear", "nearest_mode": "floor"}
    inputs = ["r", "factors"] if opset == 10 else ["r", "", "factors"]
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Resize", inputs, ["z"], **mode),
        helper.make_node("Relu", ["z"], ["out"]),
    ]
    model = make_graph(nodes, {"factors": factors}, shape=(1, 2, 4, 4), opset=opset)
    assert apply(RemoveNoOpsPass(), model) == removed


def test_a_no_op_that_is_an_output_keeps_its_name() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Identity", ["r"], ["out"])]
    model = make_graph(nodes, {}, shape=(1, 2))
    apply(RemoveNoOpsPass(), model)
    assert [value.name for value in model.graph.outputs] == ["out"]


def test_unused_nodes_and_weights_disappear() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["out"]),
        helper.make_node("Mul", ["x", "w"], ["auxiliary"]),
    ]
    model = make_graph(nodes, {"w": random_array(0, 3), "v": random_array(1, 3)}, shape=(2, 3))
    assert apply(RemoveUnusedPass(), model) == 3
    assert op_counts(model) == {"Relu": 1}
    assert not model.graph.initializers


def test_notes_of_the_exporter_disappear_and_ours_stay() -> None:
    model = make_graph([helper.make_node("Relu", ["x"], ["out"])], {}, shape=(1, 2))
    (node,) = model.graph
    node.metadata_props.update({"pkg.torch.onnx.stack_trace": "File x", "mahtrt.scope": "act"})
    node.doc_string = "File x"
    node.outputs[0].metadata_props["pkg.torch"] = "y"
    model.graph.metadata_props["pkg.torch"] = "z"
    assert StripMetadataPass()(model) == 4
    assert node.metadata_props == {"mahtrt.scope": "act"}
    assert not node.doc_string
    assert not model.graph.metadata_props
