"""Reading a top-down sum of feature maps, and what interpolating one is as a matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mahtrt.export.passes.graph_edit import constant_array, conv_constants

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Level:
    """One step of a pyramid: ``sum = weight * feature + bias + resize(below)``.

    Attributes:
        feature: (B, C, H, W), what the lateral 1x1 convolution reads.
        weight: (D, C), the lateral's.
        bias: (D,), the lateral's, zeros where it has none.
        resize: The linear interpolation to this level's (H, W).
        below: (B, D, h, w), what ``resize`` reads: the sum of the next level, or any tensor.
    """

    feature: ir.Value
    weight: Matrix
    bias: Matrix
    resize: ir.Node
    below: ir.Value


def read_levels(value: ir.Value | None) -> tuple[Level, ...]:
    """The levels that a tensor is the sum of, finest first; none where it is something else."""
    levels: list[Level] = []
    while value is not None and (level := _read_level(value)) is not None:
        levels.append(level)
        value = level.below
    return tuple(levels)


def static_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """The shape of a tensor, None where it is unknown or a part of it is."""
    if value is None or value.shape is None:
        return None
    sizes = tuple(value.shape)
    known = tuple(size for size in sizes if isinstance(size, int))
    return known if len(known) == len(sizes) else None


def known_shape(value: ir.Value) -> tuple[int, ...]:
    """The shape of a tensor that is known to be static."""
    shape = static_shape(value)
    assert shape is not None
    return shape


def attribute(node: ir.Node, name: str, default: object) -> object:
    """The value of an attribute; lists as tuples, text as str."""
    found = node.attributes.get(name)
    if found is None:
        return default
    value = found.value
    return tuple(value) if isinstance(value, list | tuple) else value


def linear_matrix(size_in: int, size_out: int) -> Matrix:
    """Half-pixel linear interpolation as a matrix (size_out, size_in); its rows sum to 1."""
    place = (np.arange(size_out) + 0.5) * size_in / size_out - 0.5
    place = np.clip(place, 0, size_in - 1)
    left = np.minimum(place.astype(np.int64), max(size_in - 2, 0))
    matrix, rows = np.zeros((size_out, size_in)), np.arange(size_out)
    matrix[rows, left] = 1 - (place - left)
    matrix[rows, np.minimum(left + 1, size_in - 1)] += place - left
    return matrix


def _read_level(value: ir.Value) -> Level | None:
    add = value.producer()
    if add is None or add.op_type != "Add":
        return None
    for lateral, above in (add.inputs, reversed(add.inputs)):
        conv = lateral.producer() if lateral is not None else None
        resize = above.producer() if above is not None else None
        if conv is None or resize is None:
            continue
        weights = _pointwise_weights(conv)
        below = resize.inputs[0]
        if weights is None or below is None or not is_linear_resize(resize):
            continue
        shapes = static_shape(lateral), static_shape(above), static_shape(conv.inputs[0])
        if None in shapes or shapes[0] != shapes[1] or conv.inputs[0] is None:
            continue
        return Level(conv.inputs[0], *weights, resize, below)
    return None


def _pointwise_weights(conv: ir.Node) -> tuple[Matrix, Matrix] | None:
    """Weight (D, C) and bias (D,) of a 1x1 convolution, None for anything else."""
    if conv.op_type != "Conv" or attribute(conv, "group", 1) != 1:
        return None
    if attribute(conv, "auto_pad", "NOTSET") != "NOTSET":
        return None
    if any(attribute(conv, "pads", ())) or set(attribute(conv, "strides", ())) - {1}:  # type: ignore[arg-type, call-overload]
        return None
    constants = conv_constants(conv)
    if constants is None:
        return None
    weight, bias = constants
    if weight.shape[2:] != (1, 1) or weight.dtype != np.float32:
        return None
    flat = weight[:, :, 0, 0].astype(np.float64)
    return flat, np.zeros(len(flat)) if bias is None else bias.astype(np.float64)


def is_linear_resize(node: ir.Node) -> bool:
    """Whether a node is :func:`linear_matrix` along the rows and the columns, and no more."""
    if node.op_type != "Resize" or attribute(node, "mode", "nearest") != "linear":
        return False
    if attribute(node, "coordinate_transformation_mode", "half_pixel") != "half_pixel":
        return False
    if attribute(node, "antialias", 0) or "axes" in node.attributes:
        return False
    if attribute(node, "keep_aspect_ratio_policy", "stretch") != "stretch":
        return False
    before, after = static_shape(node.inputs[0]), static_shape(node.outputs[0])
    if before is None or after is None or len(before) != 4 or before[:2] != after[:2]:
        return False
    scales = constant_array(node.inputs[2]) if len(node.inputs) > 2 else None
    # Places are computed with the scales as they are given, not with the ratio of the sizes.
    return scales is None or not scales.size or tuple(np.multiply(before, scales)) == after
