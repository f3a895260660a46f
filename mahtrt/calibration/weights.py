"""Symmetric INT8 arithmetic: scales, and weights per output channel."""

from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

# Activations use -128..127 of this scale; amax is what 127 stands for.
ACTIVATION_MAX = 127

# Channels whose largest weight is below this are dead; they become exact zeros.
DEAD = 1e-12


@dataclass(frozen=True, slots=True)
class QuantizedWeight:
    """INT8 weights with one scale per output channel.

    Attributes:
        values: int8, in the shape of the weights.
        scales: (output channels,), float32 or float16.
    """

    values: NDArray[np.int8]
    scales: NDArray[np.floating]


def largest_code(bits: int) -> int:
    """The largest magnitude of a symmetric signed code: 127 for 8 bits, 63 for 7."""
    return (1 << (bits - 1)) - 1


def scale_from_amax(amax: float) -> float:
    """The scale that represents magnitudes up to ``amax``; never zero.

    A tensor that was always zero gets the scale of [-1, 1]: any would do.
    """
    return (amax if amax > DEAD else 1.0) / ACTIVATION_MAX


def scale_of_type(
    scale: float | NDArray[np.floating], dtype: type[np.floating]
) -> NDArray[np.floating]:
    """Scales rounded to the type of the tensors they are for; never zero, as FP16 might be."""
    rounded = np.asarray(scale).astype(dtype)
    smallest = ml_dtypes.finfo(dtype).smallest_subnormal.astype(dtype)
    usable: NDArray[np.floating] = np.maximum(rounded, smallest)
    return usable


def quantize_weight(
    weight: NDArray[np.generic],
    axis: int,
    bits: int = 8,
    scale_dtype: type[np.floating] = np.float32,
) -> QuantizedWeight:
    """Round weights to INT8, one scale per channel, zero point 0.

    Seven bits halve the range of the codes and leave them INT8. They are for CPUs without VNNI,
    where the product of unsigned activations and signed weights is summed in pairs into a
    *saturating* 16-bit value (vpmaddubsw): 2 x 255 x 127 does not fit, 2 x 255 x 63 does. See
    "Nuances of int8 computations" of oneDNN, and "Saturation (overflow) issue workaround" of
    OpenVINO, which recommends the same.

    Args:
        weight: Any shape, floating point.
        axis: The axis of the output channels.
        bits: 7 or 8.
        scale_dtype: float32, or the type of a half-precision graph; codes are of the rounded scale.
    """
    value = weight.astype(np.float32)
    largest = np.abs(value).max(axis=tuple(i for i in range(value.ndim) if i != axis))
    limit = largest_code(bits)
    scales = scale_of_type(np.where(largest > DEAD, largest, 1.0) / limit, scale_dtype)
    shape = [-1 if i == axis else 1 for i in range(value.ndim)]
    codes = np.rint(value / scales.astype(np.float32).reshape(shape))
    return QuantizedWeight(np.clip(codes, -limit, limit).astype(np.int8), scales)
