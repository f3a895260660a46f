from __future__ import annotations

import logging

import numpy as np
import pytest
from graphs import make_graph
from onnx import helper

from mahtrt.errors import UsageError
from mahtrt.export.passes.pipeline import (
    export_passes,
    optimization_passes,
    optimizations_applied,
    run_passes,
)


def names(skip: tuple[str, ...] = ()) -> list[str]:
    return [type(graph_pass).__name__ for graph_pass in export_passes(skip)]


@pytest.mark.parametrize("name", list(optimization_passes()))
def test_each_optimization_can_be_left_out(name: str) -> None:
    left_out = type(optimization_passes()[name]).__name__
    assert left_out in names()
    assert names((name,)) == [other for other in names() if other != left_out]


def test_all_optimizations_can_be_left_out() -> None:
    skip = tuple(optimization_passes())
    assert len(names(skip)) == len(names()) - len(skip)


def test_the_names_are_those_of_the_classes() -> None:
    for name, graph_pass in optimization_passes().items():
        words = "".join(part.capitalize() for part in name.split("-"))
        assert type(graph_pass).__name__ == f"{words}Pass"


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(
        UsageError, match=r"merge-sibling-convs or split-pyramid-conv or fold-scaled-pool"
    ):
        export_passes(("fold-constants",))


def test_what_was_applied_is_told_from_what_was_skipped() -> None:
    changes = {"MergeSiblingConvsPass": 3, "FoldConstantsPass": 5}
    none = dict.fromkeys(optimization_passes(), 0)
    assert optimizations_applied(changes) == {**none, "merge-sibling-convs": 3}
    applied = optimizations_applied(changes, ("split-pyramid-conv",))
    assert applied == {**none, "merge-sibling-convs": 3, "split-pyramid-conv": None}


@pytest.mark.parametrize("debugging", [False, True])
def test_libraries_are_only_heard_when_debugging(
    debugging: bool, caplog: pytest.LogCaptureFixture
) -> None:
    if debugging:
        caplog.set_level(logging.DEBUG, "mahtrt")
    nodes = [
        helper.make_node("Split", ["parts"], ["a", "b"], num_outputs=2),
        helper.make_node("Add", ["x", "a"], ["sum"]),
        helper.make_node("Add", ["sum", "b"], ["out"]),
    ]
    model = make_graph(nodes, {"parts": np.ones((2, 3), np.float32)}, shape=(1, 3))
    run_passes(model, export_passes())
    assert ("Skipping constant folding for op Split" in caplog.text) is debugging
    assert logging.getLogger("onnxscript").level == logging.NOTSET
