"""The order of the passes, and how a chain of them is run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import onnx_ir as ir

from mahtrt.errors import ModelError, UsageError
from mahtrt.export.passes.assign_scopes import AssignScopesPass
from mahtrt.export.passes.fold_batch_norm import FoldBatchNormPass
from mahtrt.export.passes.fold_constants import FoldConstantsPass
from mahtrt.export.passes.fold_scaled_pool import FoldScaledPoolPass
from mahtrt.export.passes.fuse_gelu import FuseGeluPass
from mahtrt.export.passes.fuse_layer_norm import FuseLayerNormPass
from mahtrt.export.passes.merge_sibling_convs import MergeSiblingConvsPass
from mahtrt.export.passes.name_nodes import NameNodesPass
from mahtrt.export.passes.pool_averaging_resize import PoolAveragingResizePass
from mahtrt.export.passes.remove_no_ops import RemoveNoOpsPass
from mahtrt.export.passes.remove_unused import RemoveUnusedPass
from mahtrt.export.passes.simplify import SimplifyPass
from mahtrt.export.passes.split_pyramid_conv import SplitPyramidConvPass
from mahtrt.export.passes.strip_metadata import StripMetadataPass
from mahtrt.export.quiet import quiet_libraries

# One rewrite of a graph, in place; it returns how many places changed.
GraphPass = Callable[[ir.Model], int]


def optimization_passes() -> Mapping[str, GraphPass]:
    """The rewrites that make a graph cheaper and may be left out, by name, in order.

    Each gives what the graph gave before, to the rounding of FP32.
    """
    return {
        "merge-sibling-convs": MergeSiblingConvsPass(),
        "split-pyramid-conv": SplitPyramidConvPass(),
        "fold-scaled-pool": FoldScaledPoolPass(),
        "pool-averaging-resize": PoolAveragingResizePass(),
    }


def export_passes(skip: Collection[str] = ()) -> tuple[GraphPass, ...]:
    """What every exported graph goes through, in order.

    Args:
        skip: Names of :func:`optimization_passes` to leave out.

    Raises:
        UsageError: A name that is none of them.
    """
    optimizations = optimization_passes()
    for name in skip:
        if name not in optimizations:
            raise UsageError("graph pass", got=repr(name), expected=" or ".join(optimizations))
    return (
        FoldConstantsPass(),
        FoldBatchNormPass(),  # before onnxscript's own rule, which leaves shared weights alone
        SimplifyPass(),
        RemoveNoOpsPass(),
        FuseLayerNormPass(),
        FuseGeluPass(),
        AssignScopesPass(),  # before the optimizations, which keep the scopes of what they rewrite
        *(graph_pass for name, graph_pass in optimizations.items() if name not in skip),
        RemoveUnusedPass(),
        NameNodesPass(),
        StripMetadataPass(),  # last: the passes above read the exporter's metadata
    )


def optimizations_applied(
    changes: Mapping[str, int], skip: Collection[str] = ()
) -> dict[str, int | None]:
    """What the optimizations did to a graph, by name: places changed, None where skipped.

    Args:
        changes: What :func:`run_passes` returned.
        skip: What :func:`export_passes` was told to leave out.
    """
    return {
        name: None if name in skip else changes.get(type(graph_pass).__name__, 0)
        for name, graph_pass in optimization_passes().items()
    }


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
            with quiet_libraries():
                changes[name] = changes.get(name, 0) + graph_pass(model)
        except Exception as error:
            raise ModelError(
                f"graph pass {name}",
                got=f"{type(error).__name__}: {error}",
                expected="a graph it can rewrite",
                fix="This is a defect of mahtrt: please report it with the model.",
            ) from error
    return changes
