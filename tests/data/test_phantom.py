from __future__ import annotations

import numpy as np
import pytest

from mahtrt.data.phantom import PHANTOM_LANDMARKS, PhantomDataset, make_phantom
from mahtrt.data.phantom_anatomy import draw_anatomy
from mahtrt.data.phantom_curves import deepest_point, halfway_point, smooth_curve
from mahtrt.errors import DataError


@pytest.mark.slow
def test_landmarks_lie_inside_with_a_margin_and_spacing_is_plausible() -> None:
    for seed in range(200):
        phantom = make_phantom(seed)
        assert phantom.points_px is not None
        assert phantom.spacing_mm is not None
        height, width = phantom.image.shape
        spacing = phantom.spacing_mm[0]
        points_mm = phantom.points_px * spacing
        assert points_mm.min() > 8.9
        assert ((np.array([width, height]) - 1) * spacing - points_mm).min() > 8.9
        assert 0.3 < spacing < 0.55
        assert 195 < min(height, width / 0.84) * spacing < 240
        assert phantom.image.dtype == np.uint8
        assert phantom.image.std() > 20  # contrast that a network can use


def test_seed_decides_and_seeds_differ() -> None:
    first, again, other = make_phantom(4), make_phantom(4), make_phantom(5)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.points_px, again.points_px)  # type: ignore[arg-type]
    assert not np.array_equal(first.points_px, other.points_px)  # type: ignore[arg-type]


def test_size_is_kept_and_spacing_follows() -> None:
    small, large = make_phantom(1, size=(128, 128)), make_phantom(1, size=(512, 512))
    assert small.image.shape == (128, 128)
    assert small.spacing_mm is not None
    assert large.spacing_mm is not None
    assert small.spacing_mm[0] == pytest.approx(4 * large.spacing_mm[0])


@pytest.mark.parametrize("seed", range(25))
def test_anatomy_is_that_of_a_head(seed: int) -> None:
    points = draw_anatomy(np.random.default_rng(seed)).landmarks_mm
    at = dict(zip(PHANTOM_LANDMARKS, points, strict=True))
    heights = [at[name][1] for name in ("nasion", "a_point", "b_point", "pogonion")]
    assert heights == sorted(heights)
    assert at["pogonion"][1] < at["gnathion"][1] < at["menton"][1]
    assert at["menton"][0] < at["gnathion"][0] < at["pogonion"][0]
    assert 55 < np.linalg.norm(at["nasion"] - at["sella"]) < 80
    distances = np.linalg.norm(points[:, None] - points[None], axis=2) + 99 * np.eye(7)
    assert distances.min() > 2.5


def test_pogonion_and_menton_are_extremes_of_the_drawn_chin() -> None:
    anatomy = draw_anatomy(np.random.default_rng(3))
    at = dict(zip(PHANTOM_LANDMARKS, anatomy.landmarks_mm, strict=True))
    on_contour = [
        part.curves[0]
        for part in anatomy.parts
        if part.width_mm is None
        and np.min(np.linalg.norm(part.curves[0] - at["menton"], axis=1)) < 1e-9
    ]
    assert len(on_contour) == 1
    mandible = on_contour[0]
    assert mandible[:, 1].max() == at["menton"][1]
    below = mandible[mandible[:, 1] > at["b_point"][1] + 3]
    assert below[:, 0].max() == at["pogonion"][0]
    for name in ("b_point", "gnathion"):
        assert np.min(np.linalg.norm(mandible - at[name], axis=1)) < 0.5


def test_nasion_shows_a_notch_and_sella_a_dark_cup() -> None:
    """The drawn suture and cup are where the landmarks say, in the image itself."""
    darker = 0
    for seed in range(20):
        phantom = make_phantom(seed)
        assert phantom.points_px is not None
        assert phantom.spacing_mm is not None
        mm = 1 / phantom.spacing_mm[0]
        x, y = phantom.points_px[0]
        inside = phantom.image[round(y), round(x)]
        angles = np.radians(np.arange(40, 141, 10))  # the floor of the cup
        radii = np.arange(4.0, 7.0, 0.25) * mm
        columns = np.rint(x + np.outer(radii, np.cos(angles))).astype(int)
        rows = np.rint(y + np.outer(radii, np.sin(angles))).astype(int)
        darker += float(inside) + 15 < phantom.image[rows, columns].max(axis=0).min()
    assert darker >= 18


def test_dataset_items_are_independent_of_each_other_and_of_other_seeds() -> None:
    seen = {
        dataset[index].image.tobytes()
        for dataset in (PhantomDataset(3, 0), PhantomDataset(3, 1), PhantomDataset(3, 2**32))
        for index in range(3)
    }
    assert len(seen) == 9
    assert np.array_equal(PhantomDataset(9, 7)[2].image, PhantomDataset(3, 7)[2].image)


def test_dataset_is_a_sequence_of_named_samples() -> None:
    dataset = PhantomDataset(2, 5, points=[6, 0])
    assert dataset.source == "phantom:2@5"
    assert [sample.name for sample in dataset] == list(dataset.names)
    everything = PhantomDataset(2, 5)[1].points_px
    assert everything is not None
    assert np.array_equal(dataset[1].points_px, everything[[6, 0]])  # type: ignore[arg-type]
    assert dataset[-1].name == dataset[1].name
    with pytest.raises(IndexError):
        dataset[2]


@pytest.mark.parametrize(("count", "seed", "points"), [(0, 0, None), (1, -1, None), (1, 0, [7])])
def test_dataset_refuses(count: int, seed: int, points: list[int] | None) -> None:
    with pytest.raises(DataError, match="phantom"):
        PhantomDataset(count, seed, points)


def test_make_phantom_refuses_what_it_cannot_draw() -> None:
    with pytest.raises(DataError, match="seed"):
        make_phantom(-1)
    with pytest.raises(DataError, match="64 pixels"):
        make_phantom(0, size=(32, 100))


def test_curves() -> None:
    points = np.array([[0.0, 0.0], [1.0, 2.0], [4.0, 2.0], [5.0, 0.0]])
    curve = smooth_curve(points, steps=8)
    assert len(curve) == 3 * 8 + 1
    assert np.allclose(curve[::8], points)  # a Catmull-Rom spline passes through its points
    assert len(smooth_curve(points, closed=True, steps=8)) == 4 * 8
    assert np.array_equal(deepest_point(np.array([[0.0, 0], [1, 1], [2, 3], [4, 0]])), [2, 3])
    assert np.allclose(halfway_point(np.array([[0.0, 0], [3, 0], [4, 0]])), [2, 0])
