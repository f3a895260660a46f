"""BatchNormalization into the convolution before it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mahtrt.export.passes.graph_edit import (
    add_initializer,
    constant_array,
    conv_constants,
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
    constants = conv_constants(conv)
    statistics = [constant_array(value) for value in norm.inputs[1:5]]
    if constants is None or any(s is None for s in statistics):
        return False
    weight, bias = constants
    if weight.dtype != np.float32 or norm.attributes.get_int("training_mode"):
        return False
    gain, shift = _affine(norm, [np.asarray(s, np.float64) for s in statistics])
    if bias is not None:
        shift = shift + bias.astype(np.float64) * gain
    assert conv.inputs[1] is not None
    name = conv.inputs[1].name or "weight"
    new_weight = (np.asarray(weight, np.float64) * _gain_per_weight(gain, conv, weight)).astype(
        np.float32
    )
    bias_name = f"{name.removesuffix('.weight')}.bias.folded"
    folded = ir.Node(
        "",
        conv.op_type,
        [
            conv.inputs[0],
            add_initializer(graph, f"{name}.folded", new_weight),
            add_initializer(graph, bias_name, shift.astype(np.float32)),
        ],
        conv.attributes.values(),
        name=conv.name,
        metadata_props=dict(conv.metadata_props),
    )
    replace_nodes([conv, norm], [folded], graph)
    return True


def _affine(
    norm: ir.Node, statistics: list[NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The normalisation as ``y = gain * x + shift``, per channel (C,)."""
    scale, bias, mean, variance = statistics
    gain = scale / np.sqrt(variance + norm.attributes.get_float("epsilon", 1e-5))
    return gain, bias - mean * gain


def _gain_per_weight(
    gain: NDArray[np.float64], conv: ir.Node, weight: NDArray[np.generic]
) -> NDArray[np.float64]:
    """The gain (C_out,) shaped to multiply the weights."""
    ones = (1,) * (weight.ndim - 2)
    if conv.op_type == "Conv":  # (C_out, C_in / groups, …)
        return gain.reshape(-1, 1, *ones)
    # ConvTranspose: (C_in, C_out / groups, …), the rows of one group after another.
    groups = conv.attributes.get_int("group", 1)
    rows = np.repeat(gain.reshape(groups, -1), weight.shape[0] // groups, axis=0)
    return rows.reshape(weight.shape[0], weight.shape[1], *ones)
