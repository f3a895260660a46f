"""Parts of a graph as models of their own: what leads to some tensors, what follows some nodes.

When one block becomes INT8, only what follows it changes. Running just that part, from tensors
that the floating-point network gave once, is several times cheaper than the whole network, and so
is opening it, for it holds only its own weights.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from math import prod

import onnx
from onnx import helper

from mahtrt.errors import ModelError
from mahtrt.graph.index import GraphIndex, reached


def downstream(graph: GraphIndex, keys: Iterable[str]) -> set[int]:
    """Positions of some nodes and of all that follow them."""
    return reached((graph.position_of[key] for key in keys), graph.readers)


def upstream(graph: GraphIndex, tensors: Iterable[str]) -> set[int]:
    """Positions of all nodes that some tensors are made by."""
    return reached(graph.producers(tensors), graph.makers)


def boundary(graph: GraphIndex, positions: Collection[int]) -> tuple[str, ...]:
    """The tensors, constants aside, that some nodes read and others make."""
    inside = set(positions)
    read = [
        name
        for position in sorted(inside)
        for name in graph.nodes[position].input
        if name and graph.producer.get(name, -1) not in inside and not graph.is_constant(name)
    ]
    return tuple(dict.fromkeys(read))


def size_in_bytes(graph: GraphIndex, tensor: str) -> int:
    """The size of a tensor.

    Raises:
        ModelError: Its shape is not static.
    """
    dtype = helper.tensor_dtype_to_np_dtype(graph.element_type(tensor))
    return int(prod(_shape(graph, tensor)) * dtype.itemsize)


def extract(
    graph: GraphIndex, positions: Collection[int], outputs: Sequence[str]
) -> onnx.ModelProto:
    """Some nodes as a model.

    Args:
        positions: The nodes; what they read of others becomes an input, weights come along.
            Nodes keep their keys as names, so that a plan of the whole graph fits.
        outputs: Tensors that the nodes make.

    Raises:
        ModelError: A tensor on the border has no static shape.
    """
    wanted = set(positions)
    inputs = boundary(graph, wanted)
    wanted |= _constant_makers(graph, wanted)
    whole, model = graph.model, onnx.ModelProto(ir_version=graph.model.ir_version)
    model.opset_import.extend(whole.opset_import)
    model.functions.extend(whole.functions)
    model.graph.name = whole.graph.name
    for position in sorted(wanted):
        node = model.graph.node.add()
        node.CopyFrom(graph.nodes[position])
        node.name = graph.keys[position]
    read = {name for node in model.graph.node for name in node.input}
    made = {name for node in model.graph.node for name in node.output}
    model.graph.initializer.extend(t for t in whole.graph.initializer if t.name in read)
    model.graph.input.extend(_info(graph, name) for name in inputs)
    model.graph.output.extend(_info(graph, name) for name in dict.fromkeys(outputs))
    model.graph.value_info.extend(i for i in whole.graph.value_info if i.name in made)
    return model


def _constant_makers(graph: GraphIndex, positions: Collection[int]) -> set[int]:
    """The nodes that turn initializers into the constants which some nodes read."""
    names = {n for position in positions for n in graph.nodes[position].input}
    return upstream(graph, (n for n in names if n and graph.is_constant(n)))


def _info(graph: GraphIndex, tensor: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(
        tensor, graph.element_type(tensor), list(_shape(graph, tensor))
    )


def _shape(graph: GraphIndex, tensor: str) -> tuple[int, ...]:
    shape = graph.shape(tensor)
    if shape is None:
        raise ModelError(
            "ONNX graph",
            got=f"tensor {tensor!r} without a static shape",
            expected="static shapes",
            fix="Export the network with mahtrt export.",
        )
    return shape
