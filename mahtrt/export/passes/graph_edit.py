"""Reading and extending a graph: what several passes need."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

SCOPE_KEY = "mahtrt.scope"


def constant_array(value: ir.Value | None) -> NDArray[np.generic] | None:
    """The array of an initializer or Constant node, None for anything computed or fed."""
    if value is None or value.is_graph_input():
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def conv_constants(
    conv: ir.Node,
) -> tuple[NDArray[np.generic], NDArray[np.generic] | None] | None:
    """Weight, and bias where it has one, of a convolution; None where one of them is computed."""
    weight = constant_array(conv.inputs[1])
    bias_input = conv.inputs[2] if len(conv.inputs) > 2 else None
    bias = constant_array(bias_input)
    return None if weight is None or (bias_input and bias is None) else (weight, bias)


def only_consumer(value: ir.Value) -> ir.Node | None:
    """The single node that reads a value, None if there are others or it leaves the graph."""
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def add_initializer(graph: ir.Graph, name: str, array: NDArray[np.generic]) -> ir.Value:
    """Register a constant under ``name``, or ``name_1``, … where that is taken."""
    unique, count = name, 0
    while unique in graph.initializers:
        count += 1
        unique = f"{name}_{count}"
    value = ir.val(unique, const_value=ir.tensor(np.ascontiguousarray(array), name=unique))
    graph.register_initializer(value)
    return value


def replace_nodes(old: list[ir.Node], new: list[ir.Node], graph: ir.Graph) -> None:
    """Put ``new`` in the place of ``old``, which is in graph order and ends in its output.

    The last new node's only output takes over name, shape, type and uses of the last old one's.
    """
    ir.convenience.replace_nodes_and_values(
        graph, old[-1], old, new, [old[-1].outputs[0]], [new[-1].outputs[0]]
    )
