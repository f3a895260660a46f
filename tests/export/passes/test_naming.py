"""The passes that name: scopes, nodes, values."""

from __future__ import annotations

import onnx_ir as ir
import pytest
from graphs import apply, make_graph, op_counts, random_array
from onnx import helper

from mahtrt.errors import ModelError
from mahtrt.export.passes.assign_scopes import AssignScopesPass, strip_wrappers
from mahtrt.export.passes.graph_edit import SCOPE_KEY
from mahtrt.export.passes.name_nodes import NameNodesPass
from mahtrt.export.passes.pipeline import export_passes, run_passes
from mahtrt.models.wrapping import WRAPPED

EXPORTER_KEY = "pkg.torch.onnx.name_scopes"


def chain() -> ir.Model:
    nodes = [
        helper.make_node("Mul", ["x", f"{WRAPPED}.block.scale"], ["m"]),
        helper.make_node("Relu", ["m"], ["r1"]),
        helper.make_node("Relu", ["r1"], ["r2"]),
        helper.make_node("Add", ["r2", "val_7"], ["out"]),
    ]
    constants = {f"{WRAPPED}.block.scale": random_array(0, 3), "val_7": random_array(1, 3)}
    return make_graph(nodes, constants, shape=(2, 3))


def scoped_chain() -> ir.Model:
    model = chain()
    scopes = (
        ["", WRAPPED, f"{WRAPPED}.block", "mul"],
        ["", WRAPPED, f"{WRAPPED}.block@1", "relu"],
        None,
        ["", WRAPPED, "add"],
    )
    for node, scope in zip(model.graph, scopes, strict=True):
        if scope:
            node.metadata_props[EXPORTER_KEY] = repr(scope)
    return model


def test_deepest_module_without_wrappers_and_call_numbers() -> None:
    model = scoped_chain()
    assert apply(AssignScopesPass(), model) == 3
    scopes = [node.metadata_props.get(SCOPE_KEY) for node in model.graph]
    assert scopes == ["block", "block", "block", None]
    assert "block.scale" in model.graph.initializers


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        (f"{WRAPPED}.{WRAPPED}.a.b", "a.b"),
        (WRAPPED, ""),
        ("a.b", "a.b"),
        (f"{WRAPPED}_own.a", f"{WRAPPED}_own.a"),
    ],
)
def test_strip_wrappers(path: str, plain: str) -> None:
    assert strip_wrappers(path) == plain


def test_broken_exporter_notes_are_no_reason_to_fail() -> None:
    model = chain()
    for node, text in zip(model.graph, ("not a list", "3", "[]", "['a']"), strict=True):
        node.metadata_props[EXPORTER_KEY] = text
    assert AssignScopesPass()(model) == 0


def test_nodes_are_named_after_scopes() -> None:
    model = scoped_chain()
    AssignScopesPass()(model)
    apply(NameNodesPass(), model)
    assert [node.name for node in model.graph] == ["block.Mul", "block.Relu", "block.Relu_1", "Add"]
    assert [node.outputs[0].name for node in model.graph][:3] == [
        "block.Mul",
        "block.Relu",
        "block.Relu_1",
    ]
    assert [value.name for value in model.graph.outputs] == ["out"]
    assert "Add.constant1" in model.graph.initializers


def test_the_whole_chain_counts_and_keeps_results() -> None:
    model = scoped_chain()
    counts: dict[str, int] = {}

    def passes(graph: ir.Model) -> int:
        counts.update(run_passes(graph, export_passes()))
        return sum(counts.values())

    apply(passes, model)
    assert next(iter(counts)) == "FoldConstantsPass"
    assert list(counts)[-1] == "StripMetadataPass"
    assert op_counts(model)["Add"] == 1


def test_a_failing_pass_is_named() -> None:
    class BrokenPass:
        def __call__(self, model: ir.Model) -> int:
            raise KeyError("axis")

    with pytest.raises(ModelError, match="graph pass BrokenPass: got KeyError: 'axis'"):
        run_passes(chain(), [BrokenPass()])
