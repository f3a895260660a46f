from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mahtrt.models.soft_argmax import SoftArgmax2d
from mahtrt.runtime.decode import network_from_output
from mahtrt.spec import DecodeSpec, InputSpec, ModelSpec, OutputSpec


def one_hot(rows: int, columns: int, row: int, column: int) -> torch.Tensor:
    heatmaps = torch.zeros(1, 1, rows, columns)
    heatmaps[0, 0, row, column] = 1.0
    return heatmaps


@given(st.integers(2, 40), st.integers(2, 40), st.integers(1, 5), st.integers(1, 5), st.randoms())
@settings(max_examples=40, deadline=None)
def test_a_single_cell_is_found_in_the_network_frame(
    rows: int, columns: int, scale_y: int, scale_x: int, random: object
) -> None:
    row, column = random.randrange(rows), random.randrange(columns)  # type: ignore[attr-defined]
    size = (rows * scale_y, columns * scale_x)
    decode = SoftArgmax2d(0.01, (rows, columns), size)
    landmarks, confidence, spread = decode(one_hot(rows, columns, row, column))
    spec = ModelSpec(
        "test",
        (InputSpec(size),),
        (OutputSpec("landmarks", "landmarks", frame="heatmap"),),
        decode=DecodeSpec(heatmap_size=(rows, columns)),
    )
    expected = network_from_output(np.array([column, row], np.float32), "heatmap", spec)
    np.testing.assert_allclose(landmarks[0, 0], expected, atol=1e-3)
    assert confidence.item() == 1.0
    assert 0.0 <= spread.item() < 0.01


def test_mean_and_spread_are_the_moments_of_the_softmax() -> None:
    heatmaps = torch.rand(2, 3, 12, 10, dtype=torch.float64)
    decode = SoftArgmax2d(0.2, (12, 10), (48, 30))
    landmarks, confidence, spread = decode(heatmaps.float())
    weights = torch.softmax(heatmaps.flatten(2) / 0.2, -1).reshape(2, 3, 12, 10)
    x = (torch.arange(10, dtype=torch.float64) + 0.5) * 3 - 0.5
    y = (torch.arange(12, dtype=torch.float64) + 0.5) * 4 - 0.5
    mean_x = (weights * x).sum((2, 3))
    mean_y = (weights * y[:, None]).sum((2, 3))
    variance = (
        weights * ((x - mean_x[..., None, None]) ** 2 + (y[:, None] - mean_y[..., None, None]) ** 2)
    ).sum((2, 3))
    torch.testing.assert_close(
        landmarks.double(), torch.stack((mean_x, mean_y), -1), atol=1e-4, rtol=0
    )
    torch.testing.assert_close(spread.double(), variance.sqrt(), atol=1e-4, rtol=0)
    torch.testing.assert_close(confidence.double(), heatmaps.amax((2, 3)), atol=1e-6, rtol=0)


def test_spread_of_a_far_and_sharp_peak_does_not_cancel() -> None:
    heatmaps = one_hot(256, 256, 250, 250)
    heatmaps[0, 0, 250, 251] = 1.0  # two equal cells, 1 px apart
    _, _, spread = SoftArgmax2d(0.01, (256, 256), (256, 256))(heatmaps)
    assert spread.item() == pytest.approx(0.5, abs=1e-4)


def test_autocast_changes_nothing() -> None:
    heatmaps = torch.rand(1, 2, 32, 32).bfloat16()
    decode = SoftArgmax2d(0.05, (32, 32), (64, 64))
    plain = decode(heatmaps.float())
    with torch.autocast("cpu", torch.bfloat16):
        lowered = decode(heatmaps)
    for expected, got in zip(plain, lowered, strict=True):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, expected, atol=0, rtol=0)


def test_gradients_are_finite_at_a_perfect_peak() -> None:
    heatmaps = (one_hot(8, 8, 3, 3) * 1e4).requires_grad_()
    landmarks, _, spread = SoftArgmax2d(1.0, (8, 8), (8, 8))(heatmaps)
    (landmarks.sum() + spread.sum()).backward()
    assert heatmaps.grad is not None
    assert torch.isfinite(heatmaps.grad).all()


@pytest.mark.parametrize("size", [64, 256, 512])
@pytest.mark.parametrize("height", [0.3, 1.0])
def test_a_peak_on_a_large_map_is_where_float64_finds_it(size: int, height: float) -> None:
    # Much of the weight is in tens of thousands of equal cells, whose sum float32 rounds.
    y, x = np.mgrid[:size, :size]
    near = np.exp(-((x - 0.9 * size) ** 2 + (y - 0.1 * size) ** 2) / (2 * (size / 32) ** 2))
    heatmap = (height * near).astype(np.float32)
    logits = (heatmap / np.float32(0.05)).astype(np.float64)
    weights = np.exp(logits - logits.max())
    weights /= weights.sum()
    expected = [(weights * x).sum(), (weights * y).sum()]
    decode = SoftArgmax2d(0.05, (size, size), (size, size))
    landmarks, _, _ = decode(torch.from_numpy(heatmap)[None, None])
    np.testing.assert_allclose(landmarks[0, 0], expected, atol=2e-7 * size, rtol=0)
