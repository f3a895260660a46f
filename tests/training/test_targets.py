"""Heatmap targets and the loss."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mahtrt.spec import DecodeSpec, InputSpec, ModelSpec, OutputSpec
from mahtrt.training.targets import (
    AUXILIARY_WEIGHT,
    COORDINATE_WEIGHT,
    SIGMA_CELLS,
    gaussian_heatmaps,
    landmark_loss,
)

SPEC = ModelSpec(
    family="test",
    inputs=(InputSpec((64, 96)),),
    outputs=(OutputSpec("heatmaps", "heatmaps"),),
    landmarks=("a", "b", "c"),
    decode=DecodeSpec(heatmap_size=(16, 24)),
)
NAN = math.nan
POINTS = torch.tensor([[[20.0, 30.0], [70.0, 10.0], [50.0, 60.0]]]).repeat(2, 1, 1)


def outputs_for(points: Tensor, requires_grad: bool = False) -> dict[str, Tensor]:
    """What a network would give that sees its landmarks at ``points``."""
    cells = (points + 0.5) / 4 - 0.5
    outputs = {
        "heatmaps": gaussian_heatmaps(cells, (16, 24)),
        "landmarks": points.clone(),
        "auxiliary": (points + 0.5) / torch.tensor([96.0, 64.0]),
    }
    return {k: v.requires_grad_(requires_grad) for k, v in outputs.items()}


@given(st.integers(0, 15), st.integers(0, 23))
def test_the_peak_is_at_the_point(row: int, column: int) -> None:
    heatmap = gaussian_heatmaps(torch.tensor([[[float(column), float(row)]]]), (16, 24))[0, 0]
    assert heatmap.shape == (16, 24)
    assert divmod(int(heatmap.argmax()), 24) == (row, column)
    assert heatmap.max() == 1.0


@given(st.floats(0, 23), st.floats(0, 15))
def test_every_cell_is_the_gaussian_of_its_distance(x: float, y: float) -> None:
    heatmap = gaussian_heatmaps(torch.tensor([[[x, y]]]), (16, 24))[0, 0]
    for row, column in [(0, 0), (15, 23), (7, 11), (round(y), round(x))]:
        distance2 = (row - y) ** 2 + (column - x) ** 2
        expected = math.exp(-distance2 / (2 * SIGMA_CELLS**2))
        assert heatmap[row, column].item() == pytest.approx(expected, abs=1e-4)


def test_a_missing_point_has_an_empty_map() -> None:
    points = torch.tensor([[[NAN, NAN], [3.0, 4.0], [3.0, NAN]]])
    heatmaps = gaussian_heatmaps(points, (16, 24))
    assert not heatmaps[0, 0].any()
    assert heatmaps[0, 1].any()
    assert not heatmaps[0, 2].any()


def test_the_loss_falls_when_the_points_get_nearer() -> None:
    direction = torch.tensor([3.0, -2.0])
    losses = [
        landmark_loss(outputs_for(POINTS + off * direction), POINTS, SPEC).item()
        for off in (4.0, 2.0, 1.0, 0.5, 0.0)
    ]
    assert losses == sorted(set(losses), reverse=True)


def test_coordinates_are_compared_in_heatmap_cells() -> None:
    outputs = outputs_for(POINTS)
    at_the_points = landmark_loss(outputs, POINTS, SPEC)
    outputs["landmarks"] = POINTS + torch.tensor([8.0, 0.0])  # 2 cells: smooth L1 of 2 is 1.5
    added = landmark_loss(outputs, POINTS, SPEC) - at_the_points
    assert added.item() == pytest.approx(1.5 * COORDINATE_WEIGHT, abs=1e-5)


@pytest.mark.parametrize("output", ["landmarks", "auxiliary", "heatmaps"])
def test_every_output_is_pulled_towards_its_target(output: str) -> None:
    outputs = outputs_for(POINTS, requires_grad=True)
    with torch.no_grad():
        outputs[output].mul_(0.5).add_(0.1)
    landmark_loss(outputs, POINTS, SPEC).backward()
    gradient = outputs[output].grad
    assert gradient is not None
    target = outputs_for(POINTS)[output]
    step = outputs[output].detach() - 1e-3 * gradient / gradient.abs().max()
    assert (step - target).norm() < (outputs[output].detach() - target).norm()


def test_a_missing_point_has_no_gradient_and_no_weight() -> None:
    known = POINTS.clone()
    known[:, 1] = NAN
    far = outputs_for(POINTS + 9.0, requires_grad=True)
    loss = landmark_loss(far, known, SPEC)
    loss.backward()
    for name, value in far.items():
        assert value.grad is not None
        assert bool(value.grad.isfinite().all()), name
        assert not value.grad[:, 1].any(), name
        assert value.grad[:, 0].any(), name
        assert value.grad[:, 2].any(), name

    others = {name: value.detach()[:, [0, 2]] for name, value in far.items()}
    alone = landmark_loss(others, POINTS[:, [0, 2]], SPEC)
    torch.testing.assert_close(loss.detach(), alone)


def test_a_network_without_an_auxiliary_branch_is_judged_by_the_rest() -> None:
    outputs = outputs_for(POINTS + 4.0)
    with_branch = landmark_loss(outputs, POINTS, SPEC)
    off = (outputs.pop("auxiliary") - outputs_for(POINTS)["auxiliary"]).abs().sum()
    without = landmark_loss(outputs, POINTS, SPEC)
    count = POINTS.shape[0] * POINTS.shape[1]
    torch.testing.assert_close(with_branch - without, AUXILIARY_WEIGHT * off / count)


def test_no_annotation_at_all_is_a_loss_of_zero() -> None:
    outputs = outputs_for(POINTS, requires_grad=True)
    loss = landmark_loss(outputs, torch.full_like(POINTS, NAN), SPEC)
    loss.backward()
    assert loss.item() == 0.0
    assert all(v.grad is not None and not v.grad.any() for v in outputs.values())


def test_lowered_outputs_are_compared_in_float32() -> None:
    outputs = {name: value.bfloat16() for name, value in outputs_for(POINTS).items()}
    outputs["heatmaps"] = torch.zeros_like(outputs["heatmaps"])  # clamped: no infinite entropy
    total = landmark_loss(outputs, POINTS, SPEC)
    assert total.dtype == torch.float32
    assert total.isfinite()
