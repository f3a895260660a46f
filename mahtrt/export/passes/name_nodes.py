"""Readable, unique names."""

from __future__ import annotations

import re
from collections.abc import Iterable

import onnx_ir as ir

from mahtrt.export.passes.graph_edit import SCOPE_KEY

# What the exporter calls a constant that belongs to no parameter.
_ANONYMOUS = re.compile(r"val_\d+|.*/\w+")


class NameNodesPass:
    """Names each node ``scope.OpType`` and its results after it.

    Ranges and plans are keyed by these names, so they follow from the modules rather than from
    the exporter's counters. Inputs, outputs and parameters keep theirs.
    """

    def __call__(self, model: ir.Model) -> int:
        graph = model.graph
        names = _Names(value.name or "" for value in (*graph.inputs, *graph.outputs))
        names.take(graph.initializers)
        count = 0
        for node in graph:
            scope = node.metadata_props.get(SCOPE_KEY, "")
            node.name = names.unique(f"{scope}.{node.op_type}" if scope else node.op_type)
            _name_results(node)
            count += 1
        _name_constants(graph, names)
        return count


class _Names:
    """Names given so far."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)
        self._counts: dict[str, int] = {}

    def take(self, names: Iterable[str]) -> None:
        self._taken.update(names)

    def unique(self, name: str) -> str:
        """``name``, or the first free of ``name_1``, ``name_2``, …"""
        candidate = name
        while candidate in self._taken:
            self._counts[name] = self._counts.get(name, 0) + 1
            candidate = f"{name}_{self._counts[name]}"
        self._taken.add(candidate)
        return candidate


def _name_results(node: ir.Node) -> None:
    for index, value in enumerate(node.outputs):
        if not value.is_graph_output():
            value.name = node.name if index == 0 else f"{node.name}:{index}"


def _name_constants(graph: ir.Graph, names: _Names) -> None:
    """Name the exporter's own constants after the first node that reads them."""
    for node in graph:
        for index, value in enumerate(node.inputs):
            if value is None or not value.is_initializer() or value.is_graph_input():
                continue
            if _ANONYMOUS.fullmatch(value.name or ""):
                value.name = names.unique(f"{node.name}.constant{index}")
