"""Resizes heatmaps behind the last product in FP32, where OpenVINO computes in BF16.

OpenVINO's CPU plugin counts an ``Interpolate`` among what it lowers, wherever it stands and
whatever its file says, and the heatmaps that it resizes are rounded to eight bits before the
soft-argmax reads them. Linear interpolation is a weighted sum of two neighbours along each axis:
gathers, products and sums of single elements, which keep FP32 behind the last convolution. For the
few channels of heatmaps they are faster too (7 maps from 256x256 to 512x512, one thread of a Zen 4:
5.7 ms against 12.5, and what follows needs no change of layout).

What is resized before a convolution stays an ``Interpolate``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mahtrt.errors import require

# What OpenVINO lowers to BF16, with all that leads to it.
_LOWERED = frozenset(
    {"Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul", "Interpolate"}
)
_SETTINGS = {
    "mode": ("linear", "linear_onnx"),
    "coordinate_transformation_mode": ("half_pixel",),
    "antialias": (False,),
}


def gather_last_interpolations(model: Any) -> int:
    """Let linear interpolations behind the last product be gathers and sums, in place.

    Args:
        model: An ``openvino.Model`` as read from ONNX, before it is saved or compiled.

    Returns:
        How many there are.
    """
    found = [
        op
        for op in model.get_ordered_ops()
        if _is_linear(op) and not any(each.get_type_name() in _LOWERED for each in _behind(op))
    ]
    for op in found:
        _replace(op)
    if found:
        model.validate_nodes_and_infer_types()
    return len(found)


def _is_linear(op: Any) -> bool:
    """Whether an operation is linear interpolation of rows and columns, and no more."""
    if op.get_type_name() != "Interpolate" or op.get_output_element_type(0).to_string() != "f32":
        return False
    shapes = [port.get_partial_shape() for port in (op.input_value(0), op.output(0))]
    if any(shape.is_dynamic or len(shape) != 4 for shape in shapes):
        return False
    before, after = (list(shape.to_shape()) for shape in shapes)
    settings = op.get_attributes()
    if any(settings[name] not in allowed for name, allowed in _SETTINGS.items()):
        return False
    if any((*settings["pads_begin"], *settings["pads_end"])) or before[:2] != after[:2]:
        return False
    return settings["shape_calculation_mode"] == "sizes" or _is_ratio(op, before, after)


def _is_ratio(op: Any, before: list[int], after: list[int]) -> bool:
    """Whether the scales that are given are those of the sizes: places are computed with them."""
    scales = op.input_value(op.get_input_size() - 1 if op.get_input_size() < 4 else 2).get_node()
    if scales.get_type_name() != "Constant" or scales.get_data().size != len(before):
        return False
    return bool(np.array_equal(np.multiply(before, scales.get_data()), after))


def _behind(op: Any) -> Iterator[Any]:
    """Every operation that depends on another one."""
    stack, seen = [op], set()
    while stack:
        for output in stack.pop().outputs():
            for port in output.get_target_inputs():
                reader = port.get_node()
                if reader.get_friendly_name() not in seen:
                    seen.add(reader.get_friendly_name())
                    yield reader
                    stack.append(reader)


def _replace(op: Any) -> None:
    source, target = op.input_value(0), op.output(0)
    sizes = list(zip(source.get_shape(), target.get_shape(), strict=True))
    value = source
    for axis in (3, 2):  # columns first: there are fewer of them to gather
        if sizes[axis][0] != sizes[axis][1]:
            value = _along(value, axis, *sizes[axis]).output(0)
    value.get_node().set_friendly_name(op.get_friendly_name())
    names = target.get_names()
    for reader in list(target.get_target_inputs()):
        reader.replace_source_output(value)
    value.add_names(names)


def _along(value: Any, axis: int, size_in: int, size_out: int) -> Any:
    """Linear interpolation along one axis: two neighbours, weighted by how near they are."""
    ops: Any = require("openvino.opset13", extra="", needed_for="target openvino")
    place = np.clip((np.arange(size_out) + 0.5) * size_in / size_out - 0.5, 0, size_in - 1)
    left = place.astype(np.int64)
    share = (place - left).reshape((-1, *(1,) * (3 - axis)))
    parts = [
        ops.multiply(
            ops.gather(value, ops.constant(index), ops.constant(np.int64(axis))),
            ops.constant(weight.astype(np.float32)),
        )
        for index, weight in ((left, 1 - share), (np.minimum(left + 1, size_in - 1), share))
    ]
    return ops.add(*parts)
