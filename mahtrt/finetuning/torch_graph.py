"""An exported ONNX graph as PyTorch computes it: what is trained is what is shipped.

The graph is taken node by node, after all rewrites of the export and with its batch norms folded.
So there is no second definition of a network to keep equal, and a foreign network is no special
case.

An export has a static batch. More cases at once need nothing but the first number of each Reshape
multiplied, where the graph keeps cases apart in the first axis, as networks do. Whether this one
does is measured, not assumed (:meth:`TorchGraph.takes_several`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor

from mahtrt.errors import ModelError, some_of
from mahtrt.finetuning.operators import OPERATORS
from mahtrt.finetuning.shaping import only
from mahtrt.graph.index import GraphIndex

# Of sums in another order.
_RELATIVE, _ABSOLUTE = 1e-3, 1e-3

Read = Callable[[int, int, Tensor], Tensor]  # position of a node, slot of its input, value


@dataclass(frozen=True, slots=True)
class _Step:
    """A node, and what may be forgotten once it has run."""

    position: int
    operator: Callable[[Sequence[Any], Mapping[str, Any]], Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    done_with: tuple[str, ...]

    @property
    def is_reshape(self) -> bool:
        return self.operator is OPERATORS["Reshape"]


class TorchGraph:
    """A floating-point graph, computed as far as some outputs need.

    Args:
        graph: The graph; FP32, static shapes, opset 18 or newer.
        outputs: Names of the tensors to compute.

    Attributes:
        constants: Initializers and constants by name, as tensors.

    Raises:
        ModelError: It has an operator that PyTorch is not taught here.
    """

    def __init__(self, graph: GraphIndex, outputs: Sequence[str]) -> None:
        self.graph, self.outputs = graph, tuple(outputs)
        self.constants = {
            name: _tensor(numpy_helper.to_array(value))
            for name, value in graph.initializers.items()
        }
        needed = _needed(graph, outputs)
        for position in [p for p in needed if graph.nodes[p].op_type == "Constant"]:
            name = graph.nodes[position].output[0]
            self.constants[name] = _tensor(graph.constant(name))
        running = [p for p in needed if graph.nodes[p].op_type != "Constant"]
        _refuse_unknown(graph, running)
        self._steps = _steps(graph, running, {*outputs, *self.constants})
        self._batch = (graph.shape(graph.inputs[0]) or (1,))[0]

    def __call__(
        self,
        feed: Mapping[str, Tensor],
        weights: Mapping[str, Tensor] | None = None,
        read: Read | None = None,
    ) -> dict[str, Tensor]:
        """Compute the outputs.

        Args:
            feed: Input name to tensor, (B, C, H, W) of the graph's batch; of a multiple of it where
                :meth:`takes_several` said so.
            weights: Constants that take the place of those of the same name.
            read: What a node reads, from the value that is there.
        """
        values: dict[str, Any] = {**self.constants, **(weights or {}), **feed, "": None}
        times = len(next(iter(feed.values()))) // self._batch
        for step in self._steps:
            given = [values[name] for name in step.inputs]
            if times > 1 and step.is_reshape:
                given[1] = _of_several(given[1], times)
            if read is not None:
                given = [
                    v if v is None else read(step.position, slot, v) for slot, v in enumerate(given)
                ]
            found = step.operator(given, step.attributes)
            several = found if isinstance(found, tuple) else (found,)
            values.update(zip(step.outputs, several, strict=False))
            for name in step.done_with:
                del values[name]
        return {name: only(values[name]) for name in self.outputs}

    def takes_several(self, feeds: Sequence[Mapping[str, Tensor]]) -> bool:
        """Whether several feeds can be computed at once, with the results of each alone."""
        if len(feeds) < 2:
            return True
        with torch.no_grad():
            alone = [self(feed) for feed in feeds]
            try:
                at_once = self(joined(feeds))
            except (RuntimeError, IndexError, ValueError):  # PyTorch's, of shapes that do not fit
                return False
        return all(
            value.shape[0] == sum(len(each[name]) for each in alone)
            and torch.allclose(value, torch.cat([e[name] for e in alone]), _RELATIVE, _ABSOLUTE)
            for name, value in at_once.items()
        )


def joined(feeds: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Several feeds as one, channels last: as PyTorch computes convolutions fastest on a CPU."""
    return {
        name: torch.cat([feed[name] for feed in feeds]).contiguous(
            memory_format=torch.channels_last
        )
        for name in feeds[0]
    }


def _of_several(shape: Tensor, times: int) -> Tensor:
    """The shape that a Reshape gives so many times as many cases."""
    if not shape.numel() or int(shape[0]) <= 0:  # as it comes, or what is left
        return shape
    return torch.cat([shape[:1] * times, shape[1:]])


def _tensor(value: Any) -> Tensor:
    return torch.from_numpy(value.copy())


def _needed(graph: GraphIndex, outputs: Sequence[str]) -> list[int]:
    """Positions of the nodes that outputs depend on, in the order of the graph."""
    stack, found = graph.producers(outputs), set[int]()
    while stack:
        position = stack.pop()
        if position not in found:
            found.add(position)
            stack.extend(graph.makers(position))
    return sorted(found)


def _refuse_unknown(graph: GraphIndex, positions: Sequence[int]) -> None:
    unknown = Counter(
        node.op_type
        for node in (graph.nodes[p] for p in positions)
        if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx")
    )
    if unknown:
        raise ModelError(
            "fine-tuning",
            got=f"operators that it cannot train through: {some_of(sorted(unknown), 5)}",
            expected=f"some of the {len(OPERATORS)} of mahtrt/finetuning/operators.py",
            fix="Export the network without them.",
        )


def _steps(graph: GraphIndex, positions: Sequence[int], kept: Collection[str]) -> tuple[_Step, ...]:
    last_use: dict[str, int] = {}
    for position in positions:
        for name in graph.nodes[position].input:
            last_use[name] = position
    made = {name for position in positions for name in graph.nodes[position].output}
    steps = []
    for position in positions:
        node = graph.nodes[position]
        ends = [n for n in dict.fromkeys(node.input) if last_use[n] == position]
        steps.append(
            _Step(
                position,
                OPERATORS[node.op_type],
                tuple(node.input),
                tuple(node.output),
                _attributes(node),
                tuple(name for name in ends if name in made and name not in kept),
            )
        )
    return tuple(steps)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}
