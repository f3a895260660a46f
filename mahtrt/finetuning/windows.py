"""ONNX operators with weights, windows or norms, in PyTorch (see :mod:`.operators`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mahtrt.errors import ModelError
from mahtrt.finetuning.shaping import only, whole_numbers

Values = Sequence[Any]
Attributes = Mapping[str, Any]

_CONV: tuple[Callable[..., Any], ...] = (F.conv1d, F.conv2d, F.conv3d)
_CONV_TRANSPOSE: tuple[Callable[..., Any], ...] = (
    F.conv_transpose1d,
    F.conv_transpose2d,
    F.conv_transpose3d,
)
_MAX_POOL: tuple[Callable[..., Any], ...] = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
_AVERAGE_POOL: tuple[Callable[..., Tensor], ...] = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)
_LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}


def _optional(values: Values, slot: int) -> Any:
    return values[slot] if len(values) > slot else None


def _refused(op: str, got: str) -> ModelError:
    return ModelError(
        f"{op} node",
        got=got,
        expected="a form that mahtrt qat can train through",
        fix="Export the network without it.",
    )


def _around(op: str, attributes: Attributes, dims: int) -> tuple[list[int], list[int]]:
    """Padding at the beginning and at the end of each spatial axis."""
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise _refused(op, f"auto_pad {attributes['auto_pad'].decode()}")
    pads = [int(amount) for amount in attributes.get("pads", [0] * 2 * dims)]
    return pads[:dims], pads[dims:]


def _padded(value: Tensor, begin: Sequence[int], end: Sequence[int], fill: float = 0.0) -> Tensor:
    flat = [amount for pair in zip(reversed(begin), reversed(end), strict=True) for amount in pair]
    return F.pad(value, flat, value=fill)


def _conv(values: Values, attributes: Attributes) -> Tensor:
    value, weight, bias = values[0], values[1], _optional(values, 2)
    dims = value.dim() - 2
    begin, end = _around("Conv", attributes, dims)
    if begin != end:
        value, begin = _padded(value, begin, end), [0] * dims
    found: Tensor = _CONV[dims - 1](
        value,
        weight,
        bias,
        attributes.get("strides", [1] * dims),
        begin,
        attributes.get("dilations", [1] * dims),
        attributes.get("group", 1),
    )
    return found


def _conv_transpose(values: Values, attributes: Attributes) -> Tensor:
    value, weight, bias = values[0], values[1], _optional(values, 2)
    dims = value.dim() - 2
    begin, end = _around("ConvTranspose", attributes, dims)
    if begin != end or "output_shape" in attributes:
        raise _refused("ConvTranspose", "uneven padding, or an output shape")
    found: Tensor = _CONV_TRANSPOSE[dims - 1](
        value,
        weight,
        bias,
        attributes.get("strides", [1] * dims),
        begin,
        attributes.get("output_padding", [0] * dims),
        attributes.get("group", 1),
        attributes.get("dilations", [1] * dims),
    )
    return found


def _gemm(values: Values, attributes: Attributes) -> Tensor:
    left, right, bias = values[0], values[1], _optional(values, 2)
    left = left.T if attributes.get("transA", 0) else left
    right = right.T if attributes.get("transB", 0) else right
    product = attributes.get("alpha", 1.0) * (left @ right)
    return only(product if bias is None else product + attributes.get("beta", 1.0) * bias)


def _max_pool(values: Values, attributes: Attributes) -> Tensor:
    value, kernel = values[0], attributes["kernel_shape"]
    dims = len(kernel)
    begin, end = _around("MaxPool", attributes, dims)
    if begin != end:
        value, begin = _padded(value, begin, end, -torch.inf), [0] * dims
    return only(
        _MAX_POOL[dims - 1](
            value,
            kernel,
            attributes.get("strides", [1] * dims),
            begin,
            attributes.get("dilations", [1] * dims),
            ceil_mode=bool(attributes.get("ceil_mode", 0)),
        )
    )


def _average_pool(values: Values, attributes: Attributes) -> Tensor:
    value, kernel = values[0], attributes["kernel_shape"]
    dims = len(kernel)
    begin, end = _around("AveragePool", attributes, dims)
    counted = bool(attributes.get("count_include_pad", 0))
    if begin != end:
        if not counted:
            raise _refused("AveragePool", "uneven padding that is not counted")
        value, begin = _padded(value, begin, end), [0] * dims
    strides = attributes.get("strides", [1] * dims)
    ceil = bool(attributes.get("ceil_mode", 0))
    return _AVERAGE_POOL[dims - 1](value, kernel, strides, begin, ceil, counted)


def _global_average_pool(values: Values, _: Attributes) -> Tensor:
    value = values[0]
    return only(value.mean(tuple(range(2, value.dim())), keepdim=True))


def _global_max_pool(values: Values, _: Attributes) -> Tensor:
    value = values[0]
    return only(value.amax(tuple(range(2, value.dim())), keepdim=True))


def _layer_norm(values: Values, attributes: Attributes) -> Tensor:
    value, axis = values[0], attributes.get("axis", -1)
    shape = value.shape[axis % value.dim() :]
    return F.layer_norm(
        value, shape, values[1], _optional(values, 2), attributes.get("epsilon", 1e-5)
    )


def _instance_norm(values: Values, attributes: Attributes) -> Tensor:
    return F.instance_norm(
        values[0], weight=values[1], bias=values[2], eps=attributes.get("epsilon", 1e-5)
    )


def _batch_norm(values: Values, attributes: Attributes) -> Tensor:
    value, weight, bias, mean, variance = values
    return F.batch_norm(value, mean, variance, weight, bias, eps=attributes.get("epsilon", 1e-5))


def _resize(values: Values, attributes: Attributes) -> Tensor:
    value, size = values[0], _new_size(values)
    mode = attributes.get("mode", b"nearest").decode()
    frame = attributes.get("coordinate_transformation_mode", b"half_pixel").decode()
    corners = frame == "align_corners"
    if mode == "nearest":
        return F.interpolate(value, size, mode=_nearest(frame, attributes))
    if frame not in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        raise _refused("Resize", f"coordinates {frame}")
    name = _LINEAR[value.dim()] if mode == "linear" else "bicubic"
    smooth = bool(attributes.get("antialias", 0))
    return F.interpolate(value, size, mode=name, align_corners=corners, antialias=smooth)


def _new_size(values: Values) -> list[int]:
    """Height and width (and depth) that a Resize gives."""
    shape, sizes = values[0].shape, _optional(values, 3)
    if sizes is not None and sizes.numel():
        return whole_numbers(sizes)[-(len(shape) - 2) :]
    scales = values[2].reshape(-1).tolist()[-(len(shape) - 2) :]
    return [int(length * scale) for length, scale in zip(shape[2:], scales, strict=True)]


def _nearest(frame: str, attributes: Attributes) -> str:
    rounding = attributes.get("nearest_mode", b"round_prefer_floor").decode()
    if (frame, rounding) == ("asymmetric", "floor"):
        return "nearest"
    if frame == "half_pixel" and rounding.startswith("round_prefer"):
        return "nearest-exact"
    raise _refused("Resize", f"nearest values by {frame} and {rounding}")


OPERATORS: Mapping[str, Callable[[Values, Attributes], Tensor]] = {
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average_pool,
    "GlobalMaxPool": _global_max_pool,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "MaxPool": _max_pool,
    "Resize": _resize,
}
