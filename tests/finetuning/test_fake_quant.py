"""Rounding to INT8 that gradients pass through."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mahtrt.calibration.weights import quantize_weight
from mahtrt.finetuning.fake_quant import fake_quantize, rounded_weight


def test_activations_are_rounded_as_onnx_defines_it() -> None:
    value = torch.randn(1000, generator=torch.Generator().manual_seed(0)) * 3
    value[:3] = torch.tensor([0.05, 0.15, -0.25])  # ties go to even codes
    scale = torch.tensor(0.1)
    codes = np.clip(np.rint(value.numpy() / np.float32(0.1)), -128, 127)
    wanted = (codes * np.float32(0.1)).astype(np.float32)
    assert np.array_equal(fake_quantize(value, scale).numpy(), wanted)


@pytest.mark.parametrize("bits", [7, 8])
@pytest.mark.parametrize(("shape", "axis"), [((6, 4, 3, 3), 0), ((4, 6, 2, 2), 1), ((8, 5), 1)])
def test_weights_are_rounded_as_the_writer_rounds_them(
    bits: int, shape: tuple[int, ...], axis: int
) -> None:
    weight = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    weight[(slice(None),) * axis + (0,)] = 0  # a dead channel
    written = quantize_weight(weight, axis, bits)
    along = [-1 if i == axis else 1 for i in range(len(shape))]
    wanted = written.values.astype(np.float32) * written.scales.reshape(along)
    assert np.array_equal(rounded_weight(torch.from_numpy(weight), axis, bits).numpy(), wanted)


def test_gradients_stop_where_values_saturate() -> None:
    value = torch.tensor([-20.0, -1.23, 0.5, 20.0], requires_grad=True)
    fake_quantize(value, torch.tensor(0.1)).sum().backward()
    assert value.grad is not None
    assert value.grad.tolist() == [0.0, 1.0, 1.0, 0.0]


def test_the_gradient_of_a_scale_is_that_of_learned_step_sizes() -> None:
    """Esser et al., eq. 3: -x/s + round(x/s) inside the range, the limits outside."""
    scale = torch.tensor(0.1, requires_grad=True)
    for value, wanted in ((-20.0, -128.0), (20.0, 127.0), (0.52, 5 - 5.2), (0.26, 3 - 2.6)):
        scale.grad = None
        fake_quantize(torch.tensor([value]), scale).sum().backward()
        assert scale.grad is not None
        assert float(scale.grad) == pytest.approx(wanted, abs=1e-4)
