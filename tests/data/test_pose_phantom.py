"""Pose phantoms: seeded, whole figures whose hidden points are marked."""

from __future__ import annotations

import numpy as np
import pytest

from mahtrt.data.datasets import PHANTOMS, is_phantom, open_dataset
from mahtrt.data.pose_phantom import COCO_KEYPOINTS, PoseDataset, make_pose
from mahtrt.errors import DataError


def test_a_figure() -> None:
    sample = make_pose(3, "three")
    assert sample.name == "three"
    assert sample.image.shape == (64, 64)
    assert sample.image.dtype == np.uint8
    assert len(COCO_KEYPOINTS) == 17
    assert sample.points_px is not None
    assert sample.visible is not None
    assert sample.points_px.shape == (17, 2)
    assert sample.points_px.dtype == sample.visible.dtype == np.float32
    assert set(sample.visible.tolist()) <= {0.0, 1.0}
    assert sample.spacing_mm is None


def test_left_and_right_and_up_are_where_they_belong() -> None:
    at = {name: index for index, name in enumerate(COCO_KEYPOINTS)}
    for sample in PoseDataset(20, seed=1):
        assert sample.points_px is not None
        x, y = sample.points_px.T
        # The figure faces the viewer, so its left is on the right.
        assert x[at["left_shoulder"]] > x[at["right_shoulder"]]
        assert x[at["left_hip"]] > x[at["right_hip"]]
        assert np.nanmax(y[:5]) < y[at["left_hip"]]


def test_points_beyond_the_border_are_not_annotated_nor_seen() -> None:
    outside = hidden = 0
    for sample in PoseDataset(200):
        assert sample.points_px is not None
        assert sample.visible is not None
        missing = np.isnan(sample.points_px).all(axis=1)
        known = sample.points_px[~missing]
        assert bool(((known >= -0.5) & (known < 63.5)).all())
        assert not sample.visible[missing].any()
        outside += int(missing.sum())
        hidden += int((sample.visible[~missing] == 0).sum())
    assert 10 < outside < 340  # of 3,400 points
    assert 100 < hidden < 680


def test_equal_seeds_give_equal_figures() -> None:
    first, again, other = PoseDataset(3, 7)[2], PoseDataset(9, 7)[2], PoseDataset(3, 8)[2]
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.points_px, again.points_px, equal_nan=True)  # type: ignore[arg-type]
    assert not np.array_equal(first.image, other.image)


def test_points_are_chosen_with_their_visibility() -> None:
    whole, some = open_dataset("phantom-pose:4@2"), open_dataset("phantom-pose:4@2", points=[9, 0])
    for one, other in zip(whole, some, strict=True):
        assert one.points_px is not None
        assert one.visible is not None
        assert np.array_equal(one.points_px[[9, 0]], other.points_px, equal_nan=True)  # type: ignore[arg-type]
        assert np.array_equal(one.visible[[9, 0]], other.visible)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "source", ["phantom-pose", "phantom-pose:3", "phantom-pose:3@18446744073709551615"]
)
def test_it_is_named_as_phantoms_are(source: str) -> None:
    assert is_phantom(source)
    dataset = open_dataset(source, limit=2)
    assert dataset.names[0].startswith("phantom-pose-")
    assert dataset[1].image.shape == (64, 64)


def test_names_that_are_no_phantoms() -> None:
    assert not is_phantom("phantom-tree:3")
    with pytest.raises(DataError, match=r"phantom-pose.*each with"):
        open_dataset("phantom-tree:3")
    assert "phantom-pose" in PHANTOMS


@pytest.mark.parametrize(
    ("source", "points", "message"),
    [
        ("phantom-pose:0", None, "phantom-pose: got 0 phantoms"),
        ("phantom-pose:3", [17], "indices from 0 to 16"),
    ],
)
def test_what_is_refused(source: str, points: list[int] | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_dataset(source, points=points)
