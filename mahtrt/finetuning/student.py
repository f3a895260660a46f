"""A graph that computes in INT8 where a plan says so, and learns weights and ranges for it.

Quantisers are where :mod:`mahtrt.calibration.qdq` writes them: the same function of the graph and
the plan says where, and the same arithmetic rounds. What was learned goes back to that writer as
weights and ranges, so that the graph which was trained and the graph which is shipped are one
function.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor

from mahtrt.bundle.plan import Plan
from mahtrt.calibration.biases import BiasPlace, bias_place
from mahtrt.calibration.centring import Interval
from mahtrt.calibration.qdq import int8_positions, quantized_inputs
from mahtrt.calibration.weights import ACTIVATION_MAX, scale_from_amax
from mahtrt.finetuning.fake_quant import fake_quantize, rounded_weight
from mahtrt.finetuning.torch_graph import TorchGraph
from mahtrt.graph.index import GraphIndex
from mahtrt.graph.sites import decodes, is_thin, is_weighted, weight_axis

_NORMS = ("LayerNormalization", "InstanceNormalization")
Weights = Mapping[str, Tensor]


class Student:
    """The network with the plan's rounding.

    Args:
        graph: The FP32 export.
        plan: A plan that fits it.
        intervals: What INT8 represents of each tensor that the plan quantises, to begin with.
        bits: Bits of INT8 weights, 7 or 8.
        outputs: Names of the outputs to compute.

    Attributes:
        weights: What is learned of the graph's initializers, by name.
        log_scales: Logarithm of each activation's scale, by tensor: so that a step is relative.
        centres: What is subtracted from each before it is rounded, and taken up by biases
            (:mod:`mahtrt.calibration.centring`). It is not learned.
    """

    def __init__(
        self,
        graph: GraphIndex,
        plan: Plan,
        intervals: Mapping[str, Interval],
        bits: int,
        outputs: Sequence[str],
    ) -> None:
        self.torch_graph, self._bits = TorchGraph(graph, outputs), bits
        inputs = quantized_inputs(graph, plan)
        self._activations = {(position, slot): tensor for position, slot, tensor in inputs}
        self._int8_weights = {
            position: (graph.nodes[position].input[1], weight_axis(graph, position))
            for position in int8_positions(graph, plan)
        }
        constants = self.torch_graph.constants
        self.weights = {
            name: constants[name].clone().requires_grad_()
            for name in trainable_constants(graph, plan)
        }
        self.log_scales = {
            tensor: torch.tensor(
                math.log(scale_from_amax(intervals[tensor].amax)), requires_grad=True
            )
            for tensor in dict.fromkeys(self._activations.values())
        }
        self.centres = {tensor: intervals[tensor].centre for tensor in self.log_scales}
        self._taken_up = {
            (place.position, place.slot): (position, centre, place.factor)
            for position in self._int8_weights
            if (centre := self.centres[graph.nodes[position].input[0]])
            and (place := _bias_place(graph, position))
        }

    def correct_biases(self, means: Mapping[str, NDArray[np.float64]]) -> None:
        """Begin with biases that take up the mean error of INT8 products.

        Args:
            means: Output of a product to (output channels,), what its bias lacks
                (:mod:`mahtrt.calibration.bias_correction`).
        """
        graph = self.torch_graph.graph
        for output, mean in means.items():
            place = bias_place(graph, graph.producer[output], len(mean))
            if place and place.name in self.weights and len(graph.consumers[place.name]) == 1:
                self.weights[place.name].data += torch.from_numpy(mean / place.factor).float()

    def rounded(self) -> dict[tuple[str, int], Tensor]:
        """INT8 weights by name and axis, as leaves of which a step's cases sum the gradients.

        Straight-through: their gradients are those of the weights (:meth:`pull`).
        """
        with torch.no_grad():
            return {
                key: rounded_weight(self.weights[key[0]], key[1], self._bits).requires_grad_()
                for key in dict.fromkeys(self._int8_weights.values())
                if key[0] in self.weights
            }

    def pull(self, rounded: Mapping[tuple[str, int], Tensor]) -> None:
        """Add the gradients of rounded weights to those of the weights."""
        for (name, _), value in rounded.items():
            if value.grad is not None:
                weight = self.weights[name]
                weight.grad = value.grad if weight.grad is None else weight.grad + value.grad

    def __call__(
        self, feed: Mapping[str, Tensor], rounded: Mapping[tuple[str, int], Tensor]
    ) -> dict[str, Tensor]:
        """The outputs with the plan's rounding.

        Args:
            rounded: What :meth:`rounded` gave.
        """
        scales = {tensor: value.exp() for tensor, value in self.log_scales.items()}
        seen: dict[str, Tensor] = {}
        weights: dict[int, Tensor] = {}

        def read(position: int, slot: int, value: Tensor) -> Tensor:
            tensor = self._activations.get((position, slot))
            if tensor is not None:
                if tensor not in seen:
                    centre = self.centres[tensor]
                    seen[tensor] = fake_quantize(
                        value - centre if centre else value, scales[tensor]
                    )
                return seen[tensor]
            if slot == 1 and position in self._int8_weights:
                weights[position] = self._rounded(position, value, rounded)
                return weights[position]
            if (position, slot) in self._taken_up:
                product, centre, factor = self._taken_up[position, slot]
                axis = self._int8_weights[product][1]
                others = [i for i in range(weights[product].dim()) if i != axis]
                sums = weights[product].sum(others, dtype=torch.float64)
                return (value.double() + sums * centre / factor).float()
            return value

        return self.torch_graph(feed, self.weights, read)

    def _rounded(
        self, position: int, value: Tensor, rounded: Mapping[tuple[str, int], Tensor]
    ) -> Tensor:
        """The INT8 weights of a product: those that are learned, or what is fixed."""
        key = self._int8_weights[position]
        if key in rounded:
            return rounded[key]
        fixed = rounded_weight(value.detach(), key[1], self._bits)
        return value + (fixed - value.detach())

    def parameters(self) -> Iterator[Tensor]:
        """Everything that is learned."""
        yield from self.weights.values()
        yield from self.log_scales.values()

    def intervals(self) -> dict[str, Interval]:
        """What INT8 represents of each tensor, as learned so far."""
        return {
            tensor: Interval(centre, float(self.log_scales[tensor].detach().exp()) * ACTIVATION_MAX)
            for tensor, centre in self.centres.items()
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            "weights": {name: value.detach().clone() for name, value in self.weights.items()},
            "log_scales": {n: value.detach().clone() for n, value in self.log_scales.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for kept, own in (("weights", self.weights), ("log_scales", self.log_scales)):
            if set(state[kept]) != set(own):
                raise ValueError(f"other {kept}")
            for name, value in own.items():
                value.data.copy_(state[kept][name])


def _bias_place(graph: GraphIndex, position: int) -> BiasPlace | None:
    weight = graph.shape(graph.nodes[position].input[1]) or ()
    return bias_place(graph, position, weight[weight_axis(graph, position)])


def learned_model(model: onnx.ModelProto, weights: Weights) -> onnx.ModelProto:
    """A copy of a model with other values of some initializers."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for initializer in copy.graph.initializer:
        if initializer.name in weights:
            value: NDArray[np.float32] = weights[initializer.name].detach().numpy()
            initializer.CopyFrom(numpy_helper.from_array(value, initializer.name))
    return copy


def trainable_constants(graph: GraphIndex, plan: Plan) -> list[str]:
    """Initializers that are learned: what a training of the network would learn.

    Those are the weights and biases of convolutions and fully connected layers, the weights of INT8
    matrix products, biases that are added to products, and the factors of norms. Other constants
    of a matrix product may be no weights at all (an interpolation written as one), so they stay.
    """
    int8 = set(int8_positions(graph, plan))
    found: dict[str, None] = {}
    for position, node in enumerate(graph.nodes):
        if decodes(graph, position):
            continue
        if node.op_type in _NORMS:
            names = list(node.input[1:3])
        elif is_weighted(graph, position) and not is_thin(graph, position):
            is_matrix = node.op_type == "MatMul"
            names = list(node.input[1:3]) if not is_matrix or position in int8 else []
            names += _following_bias(graph, position) if is_matrix else []
        else:
            continue
        found.update(dict.fromkeys(n for n in names if _is_learnable(graph, n)))
    return list(found)


def _following_bias(graph: GraphIndex, position: int) -> list[str]:
    """The vector that an Add puts on a matrix product and on nothing else."""
    readers = graph.consumers.get(graph.nodes[position].output[0], [])
    if len(readers) != 1 or graph.nodes[readers[0]].op_type != "Add":
        return []
    names = [n for n in graph.nodes[readers[0]].input if n in graph.initializers]
    return [n for n in names if len(graph.initializers[n].dims) == 1]


def _is_learnable(graph: GraphIndex, name: str) -> bool:
    found = graph.initializers.get(name)
    return found is not None and found.data_type == onnx.TensorProto.FLOAT
