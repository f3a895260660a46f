from __future__ import annotations

import numpy as np
import pytest

from mahtrt.data.datasets import open_dataset
from mahtrt.data.spine_phantom import SPINE_LANDMARKS, SpineDataset, make_spine
from mahtrt.errors import DataError


def corners(seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Image, corners (5, 2, 2, 2) as vertebra, upper or lower, front or back, and mm per pixel."""
    spine = make_spine(seed)
    assert spine.points_px is not None
    assert spine.spacing_mm is not None
    return spine.image, spine.points_px.reshape(5, 2, 2, 2).astype(float), spine.spacing_mm[0]


@pytest.mark.parametrize("seed", range(20))
def test_corners_are_those_of_five_vertebrae_from_above(seed: int) -> None:
    image, points, spacing = corners(seed)
    height, width = image.shape
    assert image.dtype == np.uint8
    assert points.min() * spacing > 7.9
    assert ((np.array([width, height]) - 1 - points) * spacing).min() > 7.9
    middles = points.mean(axis=(1, 2))
    assert (np.diff(middles[:, 1]) * spacing > 15).all()
    assert (points[:, :, 0, 0] > points[:, :, 1, 0] + 20 / spacing).all()  # the front to the right
    assert (points[:, 1, :, 1] > points[:, 0, :, 1]).all()
    depth = np.linalg.norm(points[:, :, 0] - points[:, :, 1], axis=-1) * spacing
    tall = np.linalg.norm(points[:, 1] - points[:, 0], axis=-1) * spacing
    assert 25 < depth.min() < depth.max() < 42
    assert 18 < tall.min() < tall.max() < 34


def test_bodies_are_brighter_than_the_discs_between_them() -> None:
    brighter = 0
    for seed in range(20):
        image, points, _ = corners(seed)
        middles = points.mean(axis=(1, 2))
        discs = (points[:-1, 1].mean(axis=1) + points[1:, 0].mean(axis=1)) / 2
        inside, between = (
            np.mean([image[round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3] for x, y in p])
            for p in (middles, discs)
        )
        brighter += bool(inside > between + 5)
    assert brighter >= 18


def test_seed_decides_and_sizes_are_kept() -> None:
    first, again, other = make_spine(4), make_spine(4), make_spine(5)
    assert np.array_equal(first.image, again.image)
    assert not np.array_equal(first.points_px, other.points_px)  # type: ignore[arg-type]
    small, large = make_spine(1, size=(160, 120)), make_spine(1, size=(640, 480))
    assert small.image.shape == (160, 120)
    assert small.spacing_mm is not None
    assert large.spacing_mm is not None
    assert small.spacing_mm[0] == pytest.approx(4 * large.spacing_mm[0])
    with pytest.raises(DataError, match="64 pixels"):
        make_spine(0, size=(32, 100))


def test_as_data() -> None:
    dataset = open_dataset("phantom-spine:2@5", points=[19, 0])
    assert isinstance(dataset, SpineDataset)
    assert dataset.source == "phantom-spine:2@5"
    everything = SpineDataset(9, 5)[1].points_px
    assert everything is not None
    assert everything.shape == (len(SPINE_LANDMARKS), 2) == (20, 2)
    assert np.array_equal(dataset[1].points_px, everything[[19, 0]])  # type: ignore[arg-type]
    with pytest.raises(DataError, match="0 to 19"):
        SpineDataset(1, 0, [20])
