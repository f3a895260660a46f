"""The order of the passes, and how a chain of them is run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import onnx_ir as ir

from mahtrt.errors import ModelError
from mahtrt.export.passes.assign_scopes import AssignScopesPass
from mahtrt.export.passes.fold_batch_norm import FoldBatchNormPass
from mahtrt.export.passes.fold_constants import FoldConstantsPass
from mahtrt.export.passes.fuse_gelu import FuseGeluPass
from mahtrt.export.passes.fuse_layer_norm import FuseLayerNormPass
from mahtrt.export.passes.merge_sibling_convs import MergeSiblingConvsPass
from mahtrt.export.passes.name_nodes import NameNodesPass
from mahtrt.export.passes.remove_no_ops import RemoveNoOpsPass
from mahtrt.export.passes.remove_unused import RemoveUnusedPass
from mahtrt.export.passes.simplify import SimplifyPass
from mahtrt.export.passes.strip_metadata import StripMetadataPass


class GraphPass(Protocol):
    """One rewrite of a graph."""

    def __call__(self, model: ir.Model) -> int:
        """Rewrite ``model`` in place; returns how many places changed."""
        ...


def export_passes() -> tuple[GraphPass, ...]:
    """What every exported graph goes through, in order."""
    return (
        FoldConstantsPass(),
        FoldBatchNormPass(),  # before onnxscript's own rule, which leaves shared weights alone
        SimplifyPass(),
        RemoveNoOpsPass(),
        FuseLayerNormPass(),
        FuseGeluPass(),
        AssignScopesPass(),  # before merging, which joins the scopes of what it merges
        MergeSiblingConvsPass(),
        RemoveUnusedPass(),
        NameNodesPass(),
        StripMetadataPass(),  # last: the passes above read the exporter's metadata
    )


def run_passes(model: ir.Model, passes: Sequence[GraphPass]) -> dict[str, int]:
    """Run passes in order, in place.

    Returns:
        Changes per pass, by the pass's class name, in the order they ran.

    Raises:
        ModelError: A pass failed; names the pass.
    """
    changes: dict[str, int] = {}
    for graph_pass in passes:
        name = type(graph_pass).__name__
        try:
            changes[name] = changes.get(name, 0) + graph_pass(model)
        except Exception as error:
            raise ModelError(
                f"graph pass {name}",
                got=f"{type(error).__name__}: {error}",
                expected="a graph it can rewrite",
                fix="This is a defect of mahtrt: please report it with the model.",
            ) from error
    return changes
