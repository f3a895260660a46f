"""Augmentation: everything of a case moves together."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mahtrt.training.augment import Similarity, augment
from mahtrt.training.cases import Batch, Targets

NAN = math.nan


def case_of(image: Tensor, points: Tensor, **known: Tensor) -> Batch:
    visible = known.pop("visible", torch.full((len(points),), NAN))
    return Batch((image,), Targets(points, visible, **known))


def blobs(height: int, width: int, points: Tensor, sigma: float = 1.5) -> Tensor:
    """(K, height, width): a Gaussian dot per point, one plane each."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack(
        [torch.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2)) for px, py in points]
    )


def centre_of(plane: Tensor) -> Tensor:
    """Centre of mass of a plane that is 0 but for a dot."""
    y, x = torch.meshgrid(*map(torch.arange, plane.shape), indexing="ij")
    return torch.stack([(plane * x).sum(), (plane * y).sum()]) / plane.sum()


@given(st.integers(0, 2**32))
@settings(max_examples=40)
def test_dots_are_found_at_the_moved_points(seed: int) -> None:
    points = torch.tensor([[30.0, 30.0], [90.0, 40.0], [60.0, 75.0]])
    image = blobs(96, 128, points)
    case = augment(case_of(image, points, target_map=image), np.random.default_rng(seed))
    moved, target = case.targets.points, case.targets.target_map
    assert target is not None
    assert case.images[0].shape == target.shape == (3, 96, 128)
    assert moved.dtype == case.images[0].dtype == torch.float32
    for plane, point in zip(target, moved, strict=True):
        if (point > 8).all() and (point < torch.tensor([119, 87])).all():
            torch.testing.assert_close(centre_of(plane), point, atol=0.1, rtol=0)
    # The image moved with its map; only its exposure is another.
    gain = (case.images[0].max() - case.images[0].min()) / (target.max() - target.min())
    offset = case.images[0].min() - gain * target.min()
    torch.testing.assert_close(case.images[0], gain * target + offset, atol=1e-5, rtol=0)


@given(st.integers(0, 2**32))
@settings(max_examples=20)
def test_the_move_is_one_similarity_within_the_limits(seed: int) -> None:
    points = torch.tensor([[50, 40], [70, 40], [50, 60], [63.5, 47.5]])
    case = augment(case_of(torch.zeros(1, 96, 128), points), np.random.default_rng(seed))
    moved = case.targets.points.numpy()
    across, down = (moved[1] - moved[0]) / 20, (moved[2] - moved[0]) / 20
    scale = np.hypot(*across)
    assert 0.85 - 1e-4 <= scale <= 1.15 + 1e-4
    np.testing.assert_allclose(down, [-across[1], across[0]], atol=1e-4)
    assert abs(np.degrees(np.arctan2(across[1], across[0]))) <= 15.01
    shift = np.abs(moved[3] - (63.5, 47.5))  # of the centre, which rotation leaves alone
    assert (shift <= (0.06 * 128 + 1e-3, 0.06 * 96 + 1e-3)).all()


@given(st.integers(0, 2**32))
@settings(max_examples=20)
def test_points_outside_are_missing_and_not_visible(seed: int) -> None:
    points = torch.tensor([[0, 0], [127, 95], [NAN, NAN], [64, 48], [-40, 48]])
    visible = torch.tensor([1.0, 1.0, NAN, 1.0, 1.0])
    case = case_of(torch.zeros(1, 96, 128), points, visible=visible)
    moved = augment(case, np.random.default_rng(seed)).targets
    missing = moved.points.isnan().any(-1)
    assert torch.equal(missing, moved.points.isnan().all(-1))
    assert missing[2]
    assert missing[4]
    assert not missing[3]
    inside = moved.points[~missing]
    assert (inside >= 0).all()
    assert (inside <= torch.tensor([127, 95])).all()
    assert moved.visible[2].isnan()
    known = torch.tensor([True, True, False, True, True])
    assert torch.equal(moved.visible[known] == 0, missing[known])


def test_inputs_of_other_sizes_move_alike() -> None:
    """The same scene at half the size is the same scene, moved, at half the size."""
    points = torch.tensor([[40.0, 30.0], [80.0, 60.0]])
    half = (points + 0.5) / 2 - 0.5
    move = Similarity(11.0, 1.1, (0.05, -0.04))
    large, small = blobs(96, 128, points, 3.0), blobs(48, 64, half)
    for plane, point in zip(move.of_image(small), move.of_points(points, large), strict=True):
        torch.testing.assert_close(centre_of(plane), (point + 0.5) / 2 - 0.5, atol=0.05, rtol=0)


def test_exposure_changes_alike_over_an_image_and_differs_between_images() -> None:
    flat = torch.stack([torch.full((96, 128), value) for value in (0.0, 1.0, 2.0)])
    gains = []
    for seed in range(20):
        case = Batch((flat, flat), case_of(flat, torch.empty(0, 2)).targets)
        images = augment(case, np.random.default_rng(seed)).images
        for image in images:
            low, middle, high = (float(plane[48, 64]) for plane in image)
            assert middle - low == pytest.approx(high - middle, abs=1e-4)
            assert 0.8 <= middle - low <= 1.25
            assert abs(low) <= 0.3 + 1e-6
            gains.append(middle - low)
        assert not torch.equal(*images)
    assert np.std(gains) > 0.05
