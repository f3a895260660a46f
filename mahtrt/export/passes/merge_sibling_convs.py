"""Convolutions that read one tensor and are concatenated, as one convolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mahtrt.export.passes.graph_edit import (
    SCOPE_KEY,
    add_initializer,
    conv_constants,
    only_consumer,
    replace_nodes,
)

# Read one tensor, work on each element alone: they commute with the concatenation.
_POINTWISE = frozenset(
    {"Sigmoid", "Relu", "Tanh", "LeakyRelu", "Elu", "Gelu", "HardSigmoid", "Softplus"}
)


@dataclass(frozen=True, slots=True)
class _Branch:
    """A convolution and the pointwise nodes between it and the Concat, in graph order."""

    conv: ir.Node
    activations: tuple[ir.Node, ...]
    weight: NDArray[np.generic]
    bias: NDArray[np.generic] | None


class MergeSiblingConvsPass:
    """``Concat(act(Conv_1(x)), …, act(Conv_K(x)))`` over channels becomes ``act(Conv(x))``.

    A head with one 1x1 convolution per landmark reads the largest tensor of the network once
    per landmark, and its weights are too narrow for any INT8 kernel.
    """

    def __call__(self, model: ir.Model) -> int:
        concats = [node for node in model.graph if node.op_type == "Concat"]
        return sum(_merge(concat, model.graph) for concat in concats)


def _merge(concat: ir.Node, graph: ir.Graph) -> bool:
    if len(concat.inputs) < 2 or not _over_channels(concat):
        return False
    branches: list[_Branch] = []
    for value in concat.inputs:
        branch = _branch(value)
        if branch is None or (branches and not _alike(branches[0], branch)):
            return False
        branches.append(branch)
    if len({id(branch.conv) for branch in branches}) < len(branches):
        return False
    old = [node for b in branches for node in (b.conv, *b.activations)]
    replace_nodes([*old, concat], _merged_nodes(branches, graph), graph)
    return True


def _over_channels(concat: ir.Node) -> bool:
    axis, shape = concat.attributes["axis"].as_int(), concat.outputs[0].shape
    return axis == 1 or (shape is not None and axis == 1 - len(shape))


def _branch(value: ir.Value | None) -> _Branch | None:
    activations: list[ir.Node] = []
    while value is not None and only_consumer(value) is not None:
        node = value.producer()
        if node is None:
            return None
        if node.op_type == "Conv":
            return _conv_branch(node, tuple(reversed(activations)))
        if node.op_type not in _POINTWISE:
            return None
        activations.append(node)
        value = node.inputs[0]
    return None


def _conv_branch(conv: ir.Node, activations: tuple[ir.Node, ...]) -> _Branch | None:
    constants = conv_constants(conv)
    if constants is None or conv.attributes.get_int("group", 1) != 1:
        return None
    return _Branch(conv, activations, *constants)


def _alike(first: _Branch, other: _Branch) -> bool:
    """Whether two branches differ only in the values and number of their filters."""
    return (
        first.conv.inputs[0] is other.conv.inputs[0]
        and first.weight.shape[1:] == other.weight.shape[1:]
        and first.weight.dtype == other.weight.dtype
        and [_signature(n) for n in (first.conv, *first.activations)]
        == [_signature(n) for n in (other.conv, *other.activations)]
    )


def _signature(node: ir.Node) -> tuple[str, dict[str, object]]:
    return node.op_type, {name: attr.value for name, attr in node.attributes.items()}


def _merged_nodes(branches: Sequence[_Branch], graph: ir.Graph) -> list[ir.Node]:
    first, scope = branches[0], _common_scope([branch.conv for branch in branches])
    weight = np.concatenate([branch.weight for branch in branches])
    inputs = [first.conv.inputs[0], add_initializer(graph, _name(scope, "weight"), weight)]
    if any(branch.bias is not None for branch in branches):
        bias = np.concatenate(
            [np.zeros(len(b.weight), weight.dtype) if b.bias is None else b.bias for b in branches]
        )
        inputs.append(add_initializer(graph, _name(scope, "bias"), bias))
    nodes: list[ir.Node] = []
    for old in (first.conv, *first.activations):
        node = ir.Node("", old.op_type, inputs, old.attributes.values())
        node.metadata_props.update(old.metadata_props)
        if SCOPE_KEY in old.metadata_props or scope:
            node.metadata_props[SCOPE_KEY] = scope
        node.outputs[0].type = old.outputs[0].type
        shape = old.outputs[0].shape
        node.outputs[0].shape = shape and ir.Shape([shape[0], len(weight), *shape[2:]])
        nodes.append(node)
        inputs = [node.outputs[0]]
    return nodes


def _common_scope(nodes: Sequence[ir.Node]) -> str:
    """The dotted scope that all nodes are inside of."""
    paths = [node.metadata_props.get(SCOPE_KEY, "").split(".") for node in nodes]
    common: list[str] = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    return ".".join(common)


def _name(scope: str, suffix: str) -> str:
    return f"{scope}.{suffix}" if scope else f"merged.{suffix}"
