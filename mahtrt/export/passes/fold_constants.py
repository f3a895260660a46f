"""Everything that does not depend on the image, computed once."""

from __future__ import annotations

import onnx_ir as ir
from onnxscript import optimizer

# Elements. Generous: position tables, attention masks and transposed weights all have to become
# constants, because an engine builder would otherwise see them as activations.
FOLD_LIMIT = 1 << 28


class FoldConstantsPass:
    """Inlines functions and computes every node whose inputs are all constant."""

    def __call__(self, model: ir.Model) -> int:
        optimizer.inline(model)
        before = len(model.graph)
        optimizer.fold_constants(model, input_size_limit=FOLD_LIMIT, output_size_limit=FOLD_LIMIT)
        optimizer.remove_unused_nodes(model)
        return before - len(model.graph)
