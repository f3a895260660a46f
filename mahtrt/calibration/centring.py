"""INT8 for tensors whose values lie on one side: quantised less the middle of their range.

After SiLU or GELU values reach from -0.28 to 5, say. Symmetric INT8, the only one that TensorRT
takes, spends nearly half of its codes on values that never come. So the middle of the range is
subtracted before the tensor is quantised, which makes the step nearly half as wide, and the bias of
what reads it takes up the weights times that middle:

    W x + b = W (x - c) + (b + W c)

In FP32 this holds for the rounded weights, to the rounding of FP32, where every position of a
product sees the same number of values: matrix products, and convolutions without padding (a padded
zero would be read as c). In FP16 the larger bias costs little. In BF16, whose numbers have eight
bits as INT8's have, rounding x - c and the bias costs more than the finer step gives (a 1x1
convolution of 256 channels after SiLU: 0.015 off against 0.013, and a mean of 0.013 against 0.001),
so BF16 tensors are not centred.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from mahtrt.calibration.biases import bias_place
from mahtrt.calibration.methods import LEARNED
from mahtrt.calibration.ranges import TensorRange
from mahtrt.graph.index import GraphIndex, attribute
from mahtrt.graph.sites import weight_axis

# A step is at most this share of the symmetric one, or the tensor is quantised as it is.
WORTHWHILE = 0.75

# Values of auto_pad under which the attribute pads says all.
_PLAIN = (b"NOTSET", b"VALID")


@dataclass(frozen=True, slots=True)
class Interval:
    """What INT8 represents of a tensor.

    Attributes:
        centre: What is subtracted before it is quantised; 0.0 for nothing.
        amax: The largest distance from the centre that is represented.
    """

    centre: float
    amax: float


def interval_of(seen: TensorRange, method: str, can_be_centred: bool) -> Interval:
    """What INT8 represents of a tensor, by one of its methods.

    Args:
        can_be_centred: Whether :func:`centrable` names the tensor.
    """
    amax = seen.amax[method]
    if method == LEARNED:  # decided before, and learned with
        centre = seen.centre or 0.0
        return Interval(centre, amax) if can_be_centred else Interval(0.0, abs(centre) + amax)
    low, high = max(seen.minimum, -amax), min(seen.maximum, amax)
    half = (high - low) / 2
    if not can_be_centred or not 0 < half < WORTHWHILE * amax:
        return Interval(0.0, amax)
    return Interval(float(np.float32((low + high) / 2)), half)


def centrable(graph: GraphIndex, inputs: Sequence[tuple[int, int, str]]) -> set[str]:
    """The tensors that may be quantised less a constant, since all their readers can take it up.

    Args:
        inputs: Node position, input slot and tensor of all inputs that are read through Q/DQ
            (:func:`mahtrt.calibration.qdq.quantized_inputs`).
    """
    readers: dict[str, list[int]] = {}
    for position, _, tensor in inputs:
        readers.setdefault(tensor, []).append(position)
    return {
        tensor
        for tensor, positions in readers.items()
        if graph.element_type(tensor) != TensorProto.BFLOAT16
        and not _is_joined(graph, tensor)
        and all(_takes_up(graph, p) for p in positions)
    }


def _takes_up(graph: GraphIndex, position: int) -> bool:
    """Whether a node is a product whose bias can take up a constant of its input."""
    node = graph.nodes[position]
    if node.op_type == "Conv":
        if (
            any(attribute(node, "pads", [0]))
            or attribute(node, "auto_pad", _PLAIN[0]) not in _PLAIN
        ):
            return False
    elif node.op_type not in ("MatMul", "Gemm"):
        return False
    shape = graph.shape(node.input[1])
    if shape is None or attribute(node, "alpha", 1.0) != 1.0:
        return False
    place = bias_place(graph, position, shape[weight_axis(graph, position)])
    return place is not None and place.name != ""


def _is_joined(graph: GraphIndex, tensor: str) -> bool:
    """Whether a Concat makes a tensor: Q/DQ moves before it only where nothing is between."""
    maker = graph.maker(tensor)
    return maker is not None and maker.op_type == "Concat"
