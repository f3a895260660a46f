"""INT8 rounding that gradients pass through.

Forward, both functions give exactly what QuantizeLinear and DequantizeLinear give. Backward:

- activations: a straight-through estimator for the values (1 inside the range, 0 where they
  saturate), and the gradient of S. K. Esser et al., "Learned step size quantization" (ICLR 2020,
  eq. 3) for the scale;
- weights: straight-through everywhere. Their scale follows their largest magnitude, so none of them
  saturates.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mahtrt.calibration.weights import DEAD, largest_code

_LEAST, _MOST = -128.0, 127.0


class _RoundActivation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, scale: Tensor) -> Tensor:
        steps = value / scale
        ctx.save_for_backward(steps, scale)
        return torch.round(steps).clamp_(_LEAST, _MOST).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (gradient,) = gradients
        steps, _ = ctx.saved_tensors
        codes = torch.round(steps).clamp_(_LEAST, _MOST)
        inside = (steps >= _LEAST) & (steps <= _MOST)
        of_value = gradient * inside if ctx.needs_input_grad[0] else None
        of_scale = None
        if ctx.needs_input_grad[1]:
            of_scale = (gradient * torch.where(inside, codes - steps, codes)).sum()
        return of_value, of_scale


def fake_quantize(value: Tensor, scale: Tensor) -> Tensor:
    """Values as INT8 of one scale represents them.

    Args:
        value: Any shape.
        scale: (), positive.
    """
    rounded: Tensor = _RoundActivation.apply(value, scale)
    return rounded


def rounded_weight(weight: Tensor, axis: int, bits: int) -> Tensor:
    """Weights as INT8 with one scale per output channel represents them.

    The scale is that of :func:`mahtrt.calibration.weights.quantize_weight`.

    Args:
        axis: The axis of the output channels.
        bits: 7 or 8.
    """
    limit = largest_code(bits)
    others = [i for i in range(weight.dim()) if i != axis]
    largest = weight.abs().amax(others, keepdim=True)
    scales = torch.where(largest > DEAD, largest, 1.0) / limit
    return torch.round(weight / scales).clamp_(-limit, limit).mul_(scales)
