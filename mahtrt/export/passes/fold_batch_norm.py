"""BatchNormalization into the convolution before it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mahtrt.export.passes.graph_edit import (
    add_initializer,
    constant_array,
    only_consumer,
    replace_nodes,
)

_FOLDABLE = ("Conv", "ConvTranspose")


class FoldBatchNormPass:
    """``BatchNormalization(Conv(x))`` becomes ``Conv(x)`` with scaled weights and a bias.

    The weights are scaled in float64. A convolution that is called twice (two images through
    one encoder) gets weights of its own per call, so sharing does not stop the folding.
    """

    def __call__(self, model: ir.Model) -> int:
        norms = [node for node in model.graph if node.op_type == "BatchNormalization"]
        return sum(_fold(norm, model.graph) for norm in norms)


def _fold(norm: ir.Node, graph: ir.Graph) -> bool:
    source = norm.inputs[0]
    conv = source.producer() if source is not None else None
    if conv is None or conv.op_type not in _FOLDABLE or only_consumer(conv.outputs[0]) is not norm:
        return False
    weight_input = conv.inputs[1]
    assert weight_input is not None
    weight = constant_array(weight_input)
    statistics = [constant_array(value) for value in norm.inputs[1:5]]
    bias_input = conv.inputs[2] if len(conv.inputs) > 2 else None
    bias = constant_array(bias_input)
    if weight is None or any(s is None for s in statistics) or (bias_input and bias is None):
        return False
    if weight.dtype != np.float32 or _is_training(norm):
        return False
    gain, shift = _affine(norm, [np.asarray(s, np.float64) for s in statistics])
    if bias is not None:
        shift = shift + bias.astype(np.float64) * gain
    name = weight_input.name or "weight"
    new_weight = (np.asarray(weight, np.float64) * _gain_per_weight(gain, conv, weight)).astype(
        np.float32
    )
    folded = ir.Node(
        "",
        conv.op_type,
        [
            conv.inputs[0],
            add_initializer(graph, f"{name}.folded", new_weight),
            add_initializer(graph, _bias_name(name), shift.astype(np.float32)),
        ],
        conv.attributes.values(),
        name=conv.name,
        metadata_props=dict(conv.metadata_props),
    )
    replace_nodes([conv, norm], [folded], graph)
    return True


def _is_training(norm: ir.Node) -> bool:
    mode = norm.attributes.get("training_mode")
    return mode is not None and mode.as_int() != 0


def _affine(
    norm: ir.Node, statistics: list[NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The normalisation as ``y = gain * x + shift``, per channel (C,)."""
    scale, bias, mean, variance = statistics
    epsilon = norm.attributes.get("epsilon")
    gain = scale / np.sqrt(variance + (epsilon.as_float() if epsilon is not None else 1e-5))
    return gain, bias - mean * gain


def _gain_per_weight(
    gain: NDArray[np.float64], conv: ir.Node, weight: NDArray[np.generic]
) -> NDArray[np.float64]:
    """The gain (C_out,) shaped to multiply the weights."""
    ones = (1,) * (weight.ndim - 2)
    if conv.op_type == "Conv":  # (C_out, C_in / groups, …)
        return gain.reshape(-1, 1, *ones)
    # ConvTranspose: (C_in, C_out / groups, …), the rows of one group after another.
    attribute = conv.attributes.get("group")
    groups = attribute.as_int() if attribute is not None else 1
    rows = np.repeat(gain.reshape(groups, -1), weight.shape[0] // groups, axis=0)
    return rows.reshape(weight.shape[0], weight.shape[1], *ones)


def _bias_name(weight_name: str) -> str:
    return f"{weight_name.removesuffix('.weight')}.bias.folded"
