"""A linear Resize to half the size is an average of two pixels: AveragePool says so.

With half-pixel centres, a new pixel of an axis that is halved lies in the middle between two old
ones, and linear interpolation weighs them equally. AveragePool reads no places or weights, and
OpenVINO keeps it in FP32 where it computes in BF16: its ``Interpolate`` rounds heatmaps to eight
bits before the soft-argmax reads them.
"""

from __future__ import annotations

import onnx_ir as ir

from mahtrt.export.passes.graph_edit import replace_nodes
from mahtrt.export.passes.pyramid import is_linear_resize, known_shape


class PoolAveragingResizePass:
    """A linear Resize that halves rows, columns or both becomes an AveragePool."""

    def __call__(self, model: ir.Model) -> int:
        resizes = [node for node in model.graph if is_linear_resize(node)]
        return sum(_pool(node, model.graph) for node in resizes)


def _pool(resize: ir.Node, graph: ir.Graph) -> bool:
    source = resize.inputs[0]
    assert source is not None
    before, after = known_shape(source)[2:], known_shape(resize.outputs[0])[2:]
    factors = [old // new for old, new in zip(before, after, strict=True)]
    if tuple(f * new for f, new in zip(factors, after, strict=True)) != before:
        return False
    if not set(factors) <= {1, 2} or 2 not in factors:
        return False
    pool = ir.Node(
        "",
        "AveragePool",
        [source],
        [ir.AttrInt64s("kernel_shape", factors), ir.AttrInt64s("strides", factors)],
        name=resize.name,
        metadata_props=dict(resize.metadata_props),
    )
    replace_nodes([resize], [pool], graph)
    return True
