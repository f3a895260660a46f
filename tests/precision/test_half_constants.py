from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mahtrt.errors import ModelError
from mahtrt.precision.constants import half_from_float32, loss_of

FP16_SMALLEST = 2.0**-14
FP16_STEP = 2.0**-24

floats = st.floats(width=32, allow_nan=False)


@given(st.lists(floats, min_size=1, max_size=50))
def test_every_value_is_counted_once_by_what_becomes_of_it(values: list[float]) -> None:
    exact = np.array(values, np.float32)
    loss = loss_of("w", exact, "fp16")
    assert loss.values == np.count_nonzero(exact)
    assert loss.overflowing == sum(np.isfinite(v) and abs(v) >= 65520 for v in values)
    assert loss.vanishing == sum(0 < abs(v) <= FP16_STEP / 2 for v in values)
    below = sum(0 < abs(v) < FP16_SMALLEST - FP16_STEP / 2 for v in values)
    assert loss.vanishing + loss.subnormal == below
    assert loss.is_whole == (0 < loss.values == below)


@given(st.lists(floats, min_size=1, max_size=50))
def test_rounding_is_to_nearest_and_bf16_keeps_the_range(values: list[float]) -> None:
    exact = np.array(values, np.float32)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(half_from_float32(exact, "fp16"), exact.astype(np.float16))
    bf16 = half_from_float32(exact, "bf16")
    assert bf16.dtype == ml_dtypes.bfloat16
    normal = (np.abs(exact) >= 2.0**-126) & (np.abs(exact) < 3.38e38)
    error = np.abs(bf16.astype(np.float64)[normal] - exact.astype(np.float64)[normal])
    assert (error <= np.abs(exact.astype(np.float64))[normal] * 2.0**-8).all()
    assert loss_of("w", exact, "bf16").overflowing == np.count_nonzero(
        np.isfinite(exact) & np.isinf(bf16.astype(np.float32))
    )


def test_channels_below_the_range_are_counted_and_dead_ones_are_not() -> None:
    weight = np.ones((4, 3), np.float32)
    weight[1] = 1e-6  # a channel that half holds in a few bits
    weight[2] = 0.0  # dead: nothing to lose
    weight[3, 0] = 1e-9  # one value of many
    loss = loss_of("w", weight, "fp16", channel_axis=0)
    assert (loss.lost_channels, loss.vanishing, loss.subnormal) == (1, 1, 3)
    assert loss.is_notable
    assert not loss.is_whole
    assert not loss_of("w", weight, "bf16", channel_axis=0).is_notable
    assert loss_of("w", weight.T, "fp16", channel_axis=1) == loss


def test_infinities_stay_and_nan_is_refused() -> None:
    mask = np.array([0.0, -np.inf], np.float32)
    assert loss_of("mask", mask, "fp16").overflowing == 0
    with pytest.raises(ModelError, match="constant 'mask': got NaN values"):
        loss_of("mask", np.array([np.nan], np.float32), "fp16")
