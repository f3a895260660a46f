"""Nodes and constants that no output needs."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common


class RemoveUnusedPass:
    """Removes unused nodes, initializers, functions and opset imports."""

    def __call__(self, model: ir.Model) -> int:
        before = _size(model)
        common.RemoveUnusedNodesPass()(model)
        common.RemoveUnusedFunctionsPass()(model)
        common.RemoveUnusedOpsetsPass()(model)
        return before - _size(model)


def _size(model: ir.Model) -> int:
    graph = model.graph
    parts = (list(graph), graph.initializers, model.functions, model.opset_imports)
    return sum(len(part) for part in parts)
