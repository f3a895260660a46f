"""Nodes that return their input unchanged."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from mahtrt.export.passes.graph_edit import constant_array

# In these, equal sizes may still sample elsewhere.
_MOVING_MODES = ("tf_crop_and_resize", "tf_half_pixel_for_nn")


class RemoveNoOpsPass:
    """Removes Identity, Pad by zero, and Resize, Reshape or Expand to the same shape.

    Windowed attention pads to a multiple of the window even where nothing is missing, and an
    engine may run each of these as a copy of the whole tensor.
    """

    def __call__(self, model: ir.Model) -> int:
        return sum(_remove(node, model.graph) for node in list(model.graph) if _is_no_op(node))


def _is_no_op(node: ir.Node) -> bool:
    if node.op_type == "Identity":
        return True
    if node.op_type == "Pad":
        pads = constant_array(node.inputs[1])
        return pads is not None and not pads.any()
    if node.op_type == "Resize" and not _samples_in_place(node):
        return False
    return node.op_type in ("Resize", "Reshape", "Expand") and _same_shape(node)


def _samples_in_place(node: ir.Node) -> bool:
    """Whether a Resize to the same shape reads each pixel at its own place.

    A factor of 1.2 leaves 4 pixels 4, and still samples them a sixth closer together.
    """
    if node.attributes.get_string("coordinate_transformation_mode") in _MOVING_MODES:
        return False
    place = 1 if len(node.inputs) == 2 else 2  # opset 10 has no region of interest
    factors = node.inputs[place] if len(node.inputs) > place else None
    if factors is None:
        return True  # sizes are given, and so the factors are 1
    known = constant_array(factors)
    return known is not None and not np.any(known != 1)  # none at all where sizes are given


def _same_shape(node: ir.Node) -> bool:
    source = node.inputs[0]
    shapes = (source.shape if source is not None else None, node.outputs[0].shape)
    if any(shape is None or not shape.is_static() for shape in shapes):
        return False
    return shapes[0] == shapes[1]


def _remove(node: ir.Node, graph: ir.Graph) -> bool:
    source, result = node.inputs[0], node.outputs[0]
    # A graph output keeps its name only while a node of its own produces it.
    if source is None or result.is_graph_output():
        return False
    ir.convenience.replace_all_uses_with(result, source)
    graph.remove(node, safe=True)
    return True
