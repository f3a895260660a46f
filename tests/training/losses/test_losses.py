"""Single losses, by values worked out by hand and by finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from mahtrt.measure.maps import ssim as measured_ssim
from mahtrt.training.losses import coordinates, elementwise
from mahtrt.training.losses.structure import ssim
from mahtrt.training.losses.weighting import LearnedWeights


def doubles(*shape: int, low: float = 0.05, high: float = 0.95) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    values = torch.rand(shape, generator=generator, dtype=torch.float64)
    return (low + (high - low) * values).requires_grad_()


@pytest.mark.parametrize(
    ("difference", "expected"),
    [(0.0, 0.0), (0.5, 2.5 * math.log(2)), (2.5, 2.5 * math.log(6)), (4.5, 2 + 2.5 * math.log(6))],
)
def test_wing_is_a_logarithm_and_then_a_line(difference: float, expected: float) -> None:
    for sign in (1, -1):
        found = coordinates.wing(torch.tensor([sign * difference]))
        assert found.item() == pytest.approx(expected, rel=1e-5)


def test_smooth_l1_and_l1() -> None:
    difference = torch.tensor([-0.5, 0.0, 3.0])
    assert coordinates.smooth_l1(difference).tolist() == [0.125, 0.0, 2.5]
    assert coordinates.l1(difference).tolist() == [0.5, 0.0, 3.0]


def test_focal_counts_what_is_easy_less() -> None:
    probability, target = torch.tensor([0.9, 0.1, 0.5]), torch.tensor([1.0, 1.0, 0.5])
    found = elementwise.focal(probability, target).tolist()
    assert found[0] == pytest.approx(0.01 * -math.log(0.9), rel=1e-4)
    assert found[1] == pytest.approx(0.81 * -math.log(0.1), rel=1e-4)
    assert found[2] == 0.0


def test_weighted_squares_count_a_cell_by_its_target() -> None:
    found, target = torch.tensor([0.5, 0.5, 0.5]), torch.tensor([0.0, 0.5, 1.0])
    assert elementwise.weighted_squares(found, target, 10.0).tolist() == [0.25, 0.0, 0.25 * 11]


def test_cross_entropy_of_certainty_is_finite() -> None:
    found = elementwise.cross_entropy(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 1.0]))
    assert found.isfinite().all()
    assert found[0] > 13


@pytest.mark.parametrize("loss", [coordinates.smooth_l1, coordinates.l1, coordinates.wing])
def test_gradients_of_coordinates(loss: Callable[[Tensor], Tensor]) -> None:
    assert gradcheck(loss, (doubles(4, 2, low=-4, high=4),))


def test_the_gradient_of_ssim_is_that_of_finite_differences() -> None:
    first, second = doubles(1, 2, 9, 9).detach().float(), doubles(1, 2, 9, 9).detach().flip(-1)
    first.requires_grad_()
    ssim(first, second).sum().backward()
    assert first.grad is not None
    step = 1e-2 * torch.sign(first.grad)
    with torch.no_grad():
        ahead, behind = (ssim(first + sign * step, second).sum() for sign in (1, -1))
    expected = 2 * float((first.grad * step).sum())
    assert float(ahead - behind) == pytest.approx(expected, rel=0.02)


def test_learned_weights_divide_by_the_variance_and_charge_for_it() -> None:
    weights = LearnedWeights(["a", "b"])
    with torch.no_grad():
        weights.log_variances["a"].fill_(math.log(4))
    found = weights({"a": torch.tensor(2.0), "b": torch.tensor(0.5)}).detach()
    assert float(found) == pytest.approx(2.0 / 4 + math.log(4) / 2 + 0.5, rel=1e-6)


def test_ssim_of_flat_maps_is_their_luminance() -> None:
    first, second = torch.full((1, 1, 20, 20), 0.25), torch.full((1, 1, 20, 20), 0.75)
    expected = (2 * 0.25 * 0.75 + 1e-4) / (0.25**2 + 0.75**2 + 1e-4)
    assert ssim(first, second).item() == pytest.approx(expected, rel=1e-3)  # of float32 variances


@pytest.mark.parametrize("side", [1, 4, 11, 30])
def test_ssim_of_equal_maps_is_one_at_every_size(side: int) -> None:
    maps = torch.rand(2, 3, side, side + 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ssim(maps, maps), torch.ones(2, 3))


def test_ssim_is_the_one_that_reports_measure() -> None:
    first, second = (doubles(1, 2, 24, 31).detach().float() ** power for power in (1, 2))
    expected = measured_ssim(first[0].numpy(), second[0].numpy(), 1.0)
    assert ssim(first, second).mean().item() == pytest.approx(expected, abs=1e-4)


def test_a_target_may_exceed_1_by_rounding() -> None:
    """As the means of a map's ones do, when it is made smaller."""
    found = elementwise.cross_entropy(torch.tensor([0.5]), torch.tensor([1 + 1e-6]))
    assert found.item() == pytest.approx(math.log(2))
