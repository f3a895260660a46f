"""The redundant-node rules of onnxscript: reshapes of reshapes, double transposes, casts."""

from __future__ import annotations

import onnx_ir as ir
from onnxscript import optimizer

from mahtrt.export.passes.fold_constants import FOLD_LIMIT


class SimplifyPass:
    """Runs onnxscript's optimizer: its rewrite rules, constant folding and deduplication."""

    def __call__(self, model: ir.Model) -> int:
        before = len(model.graph)
        optimizer.optimize(model, input_size_limit=FOLD_LIMIT, output_size_limit=FOLD_LIMIT)
        return before - len(model.graph)
