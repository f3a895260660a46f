from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mahtrt.calibration.weights import largest_code, quantize_weight, scale_from_amax


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 4), st.sampled_from([7, 8]), st.integers(0, 1))
def test_weights_are_rounded_to_the_nearest_code(
    seed: int, rank: int, bits: int, axis: int
) -> None:
    rng = np.random.default_rng(seed)
    size = rng.integers(1, 7, rank)
    weight = (rng.standard_cauchy(size) * rng.integers(0, 2, size)).astype(np.float32)
    quantized = quantize_weight(weight, axis, bits)
    shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
    scales = quantized.scales.reshape(shape)
    error = np.abs(quantized.values * scales - weight)
    assert (error <= scales * 0.5001 + 1e-12).all()
    assert quantized.values.dtype == np.int8
    assert np.abs(quantized.values.astype(int)).max() <= largest_code(bits)
    assert (quantized.scales > 0).all()


@settings(deadline=None)
@given(st.floats(1e-6, 1e6), st.floats(-1, 1))
def test_activations_in_range_move_by_half_a_step(amax: float, part: float) -> None:
    scale, x = scale_from_amax(amax), part * amax
    code = np.clip(np.rint(x / scale), -128, 127)
    assert abs(code * scale - x) <= scale / 2 * (1 + 1e-9)


def test_dead_channels_become_zeros_with_a_usable_scale() -> None:
    weight = np.zeros((3, 4), np.float32)
    weight[1] = 1.0
    quantized = quantize_weight(weight, 0)
    assert quantized.values.tolist() == [[0] * 4, [127] * 4, [0] * 4]
    assert (quantized.scales > 1e-3).all()
    assert scale_from_amax(0.0) == pytest.approx(1 / 127)


def test_seven_bits_fit_the_16_bit_sums_of_older_cpus() -> None:
    assert 2 * 255 * largest_code(7) <= np.iinfo(np.int16).max < 2 * 255 * largest_code(8)


def test_half_precision_scales_are_what_the_codes_are_of() -> None:
    weight = np.random.default_rng(0).normal(0, 1e-3, (8, 16)).astype(np.float16)
    quantized = quantize_weight(weight, 0, scale_dtype=np.float16)
    assert quantized.scales.dtype == np.float16
    scales = quantized.scales.astype(np.float32)[:, None]
    assert (np.abs(quantized.values * scales - weight) <= 0.51 * scales).all()
