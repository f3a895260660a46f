"""Constants in half precision: rounding, and what rounding would lose.

FP16 holds magnitudes from 6.1e-5 to 65504 with 11 significant bits; below, in steps of 6e-8, down
to nothing. BF16 has the range of FP32 and 8 bits. A weight far below its tensor's largest loses
nothing that counts: it is the tensor, or a whole output channel, below the range that does.
"""

from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from mahtrt.errors import ModelError
from mahtrt.precision.types import Half

NUMPY_TYPE: dict[Half, np.dtype[np.generic]] = {
    "fp16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16),
}


@dataclass(frozen=True, slots=True)
class Loss:
    """What rounding a constant to half precision loses.

    Attributes:
        values: How many values other than 0 it has.
        overflowing: Number of finite values that become infinite.
        vanishing: Those that become 0.
        subnormal: Those that stay, with fewer bits than the type has.
        lost_channels: Output channels with no value in the type's normal range, but some below.
    """

    values: int
    overflowing: int
    vanishing: int
    subnormal: int
    lost_channels: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether no value of the constant is in the type's normal range, but some are below."""
        return 0 < self.values == self.vanishing + self.subnormal

    @property
    def is_notable(self) -> bool:
        """Whether something is lost that rounding alone would not lose."""
        return bool(self.vanishing or self.lost_channels)


def half_from_float32(value: NDArray[np.generic], dtype: Half) -> NDArray[np.generic]:
    """The nearest half values, ties to even; infinite where they are out of range."""
    with np.errstate(over="ignore"):
        return np.asarray(value, np.float32).astype(NUMPY_TYPE[dtype])


def loss_of(
    name: str, value: NDArray[np.generic], dtype: Half, channel_axis: int | None = None
) -> Loss:
    """Measure what a constant loses.

    Args:
        name: For the message.
        value: The constant in FP32.
        dtype: The half type.
        channel_axis: The axis of the output channels, for weights.

    Raises:
        ModelError: The constant holds NaN.
    """
    exact = np.abs(np.asarray(value, np.float32))
    if np.isnan(exact).any():
        raise ModelError(
            f"constant {name!r}",
            got="NaN values",
            expected="numbers",
            fix="Check the checkpoint; the FP32 model fails here already.",
        )
    half = half_from_float32(exact, dtype).astype(np.float32)
    smallest = float(ml_dtypes.finfo(NUMPY_TYPE[dtype]).smallest_normal)
    below = (exact > 0) & (half < smallest)
    return Loss(
        values=int(np.count_nonzero(exact)),
        overflowing=int(np.count_nonzero(np.isinf(half) & np.isfinite(exact))),
        vanishing=int(np.count_nonzero(below & (half == 0))),
        subnormal=int(np.count_nonzero(below & (half > 0))),
        lost_channels=0 if channel_axis is None else _lost_channels(exact, below, channel_axis),
    )


def _lost_channels(exact: NDArray[np.float32], below: NDArray[np.bool_], channel_axis: int) -> int:
    others = tuple(axis for axis in range(exact.ndim) if axis != channel_axis)
    kept = ((exact > 0) & ~below).any(axis=others)
    return int(np.count_nonzero(below.any(axis=others) & ~kept))
