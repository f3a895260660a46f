"""ONNX operators in PyTorch, differentiable, so that a graph can be trained as it will be shipped.

Each takes the values of a node's inputs and its attributes, and gives the values of its outputs.
Values are tensors; an input that a node leaves out is None. The definitions are those of the ONNX
operator specification from opset 18 on (https://onnx.ai/onnx/operators/). What moves values about
is in :mod:`.shaping`, what has weights or windows in :mod:`.windows`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mahtrt.finetuning import shaping, windows

Values = Sequence[Any]
Attributes = Mapping[str, Any]
Operator = Callable[[Values, Attributes], "Tensor | tuple[Tensor, ...]"]

_UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "Abs": torch.abs,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "HardSwish": F.hardswish,
    "Identity": lambda value: value,
    "IsNaN": torch.isnan,
    "Log": torch.log,
    "Mish": F.mish,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Reciprocal": torch.reciprocal,
    "Relu": torch.relu,
    "Round": torch.round,
    "Sigmoid": torch.sigmoid,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Softplus": F.softplus,
    "Softsign": F.softsign,
    "Sqrt": torch.sqrt,
    "Tanh": torch.tanh,
}

_BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": torch.add,
    "And": torch.logical_and,
    "Equal": torch.eq,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "MatMul": torch.matmul,
    "Mul": torch.mul,
    "Or": torch.logical_or,
    "PRelu": lambda value, slope: torch.where(value < 0, value * slope, value),
    "Pow": torch.pow,
    "Sub": torch.sub,
}

_FOLDS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Max": torch.maximum,
    "Min": torch.minimum,
    "Sum": torch.add,
}

_REDUCTIONS: dict[str, Callable[..., Tensor]] = {
    "ReduceL2": lambda value, dim, keepdim: value.square().sum(dim, keepdim=keepdim).sqrt(),
    "ReduceMax": torch.amax,
    "ReduceMean": torch.mean,
    "ReduceMin": torch.amin,
    "ReduceProd": lambda value, dim, keepdim: _product(value, dim, keepdim),
    "ReduceSum": torch.sum,
}


def _product(value: Tensor, axes: Sequence[int], keep: bool) -> Tensor:
    for axis in sorted((a % value.dim() for a in axes), reverse=True):
        value = value.prod(axis, keepdim=keep)
    return value


def _unary(function: Callable[[Tensor], Tensor]) -> Operator:
    return lambda values, _: function(values[0])


def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return lambda values, _: function(values[0], values[1])


def _fold(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return lambda values, _: functools.reduce(function, values)


def _reduction(function: Callable[..., Tensor]) -> Operator:
    def run(values: Values, attributes: Attributes) -> Tensor:
        value, axes = values[0], shaping.axes_of(values, attributes)
        if axes is None:
            if attributes.get("noop_with_empty_axes", 0):
                return shaping.only(value)
            axes = list(range(value.dim()))
        return function(value, dim=axes, keepdim=bool(attributes.get("keepdims", 1)))

    return run


def _div(values: Values, _: Attributes) -> Tensor:
    dividend, divisor = values
    whole = not (dividend.is_floating_point() or divisor.is_floating_point())
    return torch.div(dividend, divisor, rounding_mode="trunc" if whole else None)


def _clip(values: Values, _: Attributes) -> Tensor:
    least, most = (*values[1:], None, None)[:2]
    return torch.clamp(values[0], least, most)


def _elu(values: Values, attributes: Attributes) -> Tensor:
    return F.elu(values[0], attributes.get("alpha", 1.0))


def _leaky_relu(values: Values, attributes: Attributes) -> Tensor:
    return F.leaky_relu(values[0], attributes.get("alpha", 0.01))


def _hard_sigmoid(values: Values, attributes: Attributes) -> Tensor:
    scaled = values[0] * attributes.get("alpha", 0.2) + attributes.get("beta", 0.5)
    return torch.clamp(scaled, 0, 1)


def _gelu(values: Values, attributes: Attributes) -> Tensor:
    return F.gelu(values[0], approximate=attributes.get("approximate", b"none").decode())


def _softmax(values: Values, attributes: Attributes) -> Tensor:
    return torch.softmax(values[0], attributes.get("axis", -1))


def _log_softmax(values: Values, attributes: Attributes) -> Tensor:
    return torch.log_softmax(values[0], attributes.get("axis", -1))


def _where(values: Values, _: Attributes) -> Tensor:
    condition, first, second = values
    return torch.where(condition, first, second)


def _quantize_linear(values: Values, attributes: Attributes) -> Tensor:
    """Signed 8 bits with zero point 0, as :mod:`mahtrt.calibration.qdq` writes it."""
    codes = torch.round(values[0] / _along(values[1], values[0], attributes))
    return torch.clamp(codes, -128, 127).to(torch.int8)


def _dequantize_linear(values: Values, attributes: Attributes) -> Tensor:
    codes, scale = values[0], _along(values[1], values[0], attributes)
    return shaping.only(codes.to(scale.dtype) * scale)


def _along(scale: Tensor, value: Tensor, attributes: Attributes) -> Tensor:
    """A scale, or one per place of an axis, in the rank of the values."""
    if scale.dim() == 0:
        return scale
    axis = attributes.get("axis", 1) % value.dim()
    return scale.reshape([-1 if i == axis else 1 for i in range(value.dim())])


OPERATORS: Mapping[str, Operator] = {
    **{name: _unary(function) for name, function in _UNARY.items()},
    **{name: _binary(function) for name, function in _BINARY.items()},
    **{name: _fold(function) for name, function in _FOLDS.items()},
    **{name: _reduction(function) for name, function in _REDUCTIONS.items()},
    "Clip": _clip,
    "DequantizeLinear": _dequantize_linear,
    "Div": _div,
    "Elu": _elu,
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "LeakyRelu": _leaky_relu,
    "LogSoftmax": _log_softmax,
    "QuantizeLinear": _quantize_linear,
    "Softmax": _softmax,
    "Where": _where,
    **shaping.OPERATORS,
    **windows.OPERATORS,
}
