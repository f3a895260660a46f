"""Where a product's bias is, and a copy of a graph in which it is another one.

What is added per output channel costs nothing at run time where the product has a place for it: a
convolution or Gemm its bias, a MatMul the constant of the Add that directly follows it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from mahtrt.graph.index import GraphIndex, attribute
from mahtrt.graph.rewrite import GraphRewriter


@dataclass(frozen=True, slots=True)
class BiasPlace:
    """Where something can be added to each output channel of a product.

    Attributes:
        position, slot: Node and input that read the bias.
        name: The constant that is read there, "" where there is none yet.
        factor: What the node multiplies its bias by (``beta`` of a Gemm).
    """

    position: int
    slot: int
    name: str
    factor: float = 1.0


def bias_place(graph: GraphIndex, position: int, channels: int) -> BiasPlace | None:
    """The place of a product's bias; None where adding one would take another node.

    Args:
        position: Place of the product.
        channels: How many output channels it has.
    """
    node = graph.nodes[position]
    if node.op_type == "MatMul":
        found = _following(graph, position)
    else:
        name = node.input[2] if len(node.input) > 2 else ""
        factor = attribute(node, "beta", 1.0) if node.op_type == "Gemm" else 1.0
        found = BiasPlace(position, 2, name, factor)
    if found is None or not found.factor:
        return None
    return found if not found.name or _ends_in(graph, found.name, channels) else None


def add_to_bias(
    write: GraphRewriter, position: int, value: NDArray[np.float64], element_type: int
) -> bool:
    """Add something to each output channel of a product, in its bias.

    Args:
        position: Place of the product.
        value: (output channels,).
        element_type: ONNX type of a bias where the product has none yet.

    Returns:
        Whether the product has a place for it; nothing was changed otherwise.
    """
    place = bias_place(write.graph, position, len(value))
    if place is None:
        return False
    wanted = value / place.factor
    if not place.name:
        bias = wanted.astype(helper.tensor_dtype_to_np_dtype(element_type))
        name = f"{write.graph.nodes[position].output[0]}_bias"
    else:
        old = numpy_helper.to_array(write.graph.initializers[place.name])
        bias = (old.astype(np.float64) + wanted).astype(old.dtype)
        name = f"{place.name}_corrected"
    write.replace_input(place.position, place.slot, write.store(name, bias))
    return True


def _following(graph: GraphIndex, position: int) -> BiasPlace | None:
    """The constant that an Add puts on a matrix product, which nothing else reads."""
    output = graph.nodes[position].output[0]
    readers = graph.consumers.get(output, [])
    if len(readers) != 1 or graph.nodes[readers[0]].op_type != "Add" or output in graph.outputs:
        return None
    inputs = graph.nodes[readers[0]].input
    slots = [slot for slot, name in enumerate(inputs) if name != output]
    return BiasPlace(readers[0], slots[0], inputs[slots[0]]) if len(slots) == 1 else None


def _ends_in(graph: GraphIndex, name: str, channels: int) -> bool:
    """Whether the last axis of a constant has a value for each channel."""
    found = graph.initializers.get(name)
    return found is not None and len(found.dims) > 0 and found.dims[-1] == channels
