"""A copy of a graph in which nodes are put before others and inputs are replaced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from mahtrt.graph.index import GraphIndex


class GraphRewriter:
    """Collects insertions and replaced inputs, and writes the model that has them.

    Positions are those of the original graph throughout. Names are made unique; new nodes take
    the metadata (scope) of the node they stand before. The same calls give the same bytes.
    """

    def __init__(self, graph: GraphIndex) -> None:
        self.graph = graph
        self._model = onnx.ModelProto()
        self._model.CopyFrom(graph.model)
        self._nodes = list(self._model.graph.node)
        self._before: dict[int, list[onnx.NodeProto]] = {}
        self._replaced: set[str] = set()
        self._taken = {name for n in graph.nodes for name in (*n.output, n.name)}
        self._taken |= {*graph.initializers, *graph.inputs}

    def store(self, wanted: str, array: NDArray[np.generic]) -> str:
        """Add an initializer and return its name."""
        name = self._name(wanted)
        self._model.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def insert(
        self, position: int, op: str, inputs: Sequence[str], wanted: str, **attributes: Any
    ) -> str:
        """Put a node of one output before another node, and return the output's name."""
        output = self._name(wanted)
        name = self._name(f"{output}_{op}")
        node = helper.make_node(op, inputs, [output], name=name, **attributes)
        node.metadata_props.extend(self.graph.nodes[position].metadata_props)
        self._before.setdefault(position, []).append(node)
        return output

    def replace_input(self, position: int, slot: int, name: str) -> None:
        """Let a node read another tensor; the slot may be the one behind its last input."""
        inputs = self._nodes[position].input
        self._replaced.update(inputs[slot : slot + 1])
        inputs[slot:] = [name, *inputs[slot + 1 :]]

    def finish(self) -> onnx.ModelProto:
        """The rewritten model, without replaced constants that nothing reads any more."""
        proto = self._model.graph
        ordered = [
            node for i, own in enumerate(self._nodes) for node in (*self._before.get(i, ()), own)
        ]
        ordered, unused = self._without_unused(ordered)
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
        del proto.node[:]
        proto.node.extend(copies)
        for listing in (proto.initializer, proto.input):
            for place in reversed(range(len(listing))):
                if listing[place].name in unused:
                    del listing[place]
        return self._model

    def _without_unused(self, nodes: list[onnx.NodeProto]) -> tuple[list[onnx.NodeProto], set[str]]:
        """The nodes without makers of unread constants, and the names of unread initializers."""
        candidates = {name for name in self._replaced if self.graph.is_constant(name)}
        while True:
            used = {name for node in nodes for name in node.input} | self.graph.outputs
            unused = candidates - used
            makers = [node for node in nodes if unused & set(node.output)]
            if not makers:
                return nodes, unused & set(self.graph.initializers)
            candidates |= {name for node in makers for name in node.input}
            nodes = [node for node in nodes if not unused & set(node.output)]

    def _name(self, wanted: str) -> str:
        name, number = wanted, 1
        while name in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._taken.add(name)
        return name
