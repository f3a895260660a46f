"""Overlay pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mahtrt.data.preprocess import Placement
from mahtrt.runtime.landmarks import Landmarks, landmarks_from_outputs
from mahtrt.runtime.overlay import Box, _free_box, _overlap, draw_overlay, write_overlay
from mahtrt.spec import InputSpec, ModelSpec, OutputSpec

YELLOW, BLUE = (255, 214, 10), (90, 200, 250)


def landmarks(points: list[Any], spread: float = 20.0, **changes: Any) -> Landmarks:
    count = len(points)
    values = np.full(count, spread, np.float32)
    names = tuple(f"point {i}" for i in range(count))
    return Landmarks(
        np.array(points, np.float32).reshape(count, 2), values, values, names, **changes
    )


def where(picture: Image.Image, colour: tuple[int, int, int]) -> np.ndarray:
    """(N, 2) x, y of the pixels of a colour."""
    return np.argwhere((np.asarray(picture) == colour).all(-1))[:, ::-1]


@pytest.mark.parametrize(("height", "width"), [(600, 800), (3000, 2000)])
def test_the_cross_is_centred_on_the_point(height: int, width: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    picture = draw_overlay(image, landmarks([[300, 250]]))
    assert picture.size == (width, height)
    np.testing.assert_allclose(where(picture, YELLOW).mean(0), [300, 250], atol=0.6)
    assert image.max() == 0  # a copy


def test_the_ellipse_has_the_spread_s_axes() -> None:
    axes = np.array([[60, 30]], np.float32)
    picture = draw_overlay(np.zeros((600, 800), np.uint8), landmarks([[400, 300]], spread_xy=axes))
    drawn = where(picture, BLUE)
    np.testing.assert_allclose(drawn.min(0), [340, 270], atol=2)
    np.testing.assert_allclose(drawn.max(0), [460, 330], atol=2)


@pytest.mark.parametrize("stretch", [1.0, 2.0])
def test_the_ellipse_of_a_drawn_peak_is_one_deviation_along_each_axis(stretch: float) -> None:
    deviation_px = 20.0
    y, x = np.mgrid[:200, :200].astype(float)
    weights = np.exp(-((x - 100) ** 2 + (y - 100) ** 2) / (2 * deviation_px**2))
    weights /= weights.sum()
    spread = np.sqrt((weights * ((x - 100) ** 2 + (y - 100) ** 2)).sum())
    outputs = {
        "landmarks": np.array([[[100.0, 100.0]]], np.float32),
        "spread": np.array([[spread]], np.float32),
    }
    spec = ModelSpec(
        family="drawn",
        inputs=(
            InputSpec(size=(200, 200), channels=1, color_order="gray", mean=(0.0,), std=(1.0,)),
        ),
        outputs=(
            OutputSpec("landmarks", "landmarks", "network"),
            OutputSpec("spread", "spread", "network"),
        ),
        landmarks=("sella",),
    )
    placement = Placement((1 / stretch, 1.0), (0.0, 0.0))
    (found,) = landmarks_from_outputs(outputs, spec, [placement])
    drawn = where(draw_overlay(np.zeros((600, 600), np.uint8), found), BLUE)
    size = (drawn.max(0) - drawn.min(0)) / 2
    np.testing.assert_allclose(size, [deviation_px * stretch, deviation_px], atol=1.5)


def test_small_images_are_enlarged_by_a_whole_factor() -> None:
    picture = draw_overlay(np.zeros((40, 60), np.uint8), landmarks([[30, 20]], spread=3))
    assert picture.size == (540, 360)
    centre = [(30 + 0.5) * 9 - 0.5, (20 + 0.5) * 9 - 0.5]
    np.testing.assert_allclose(where(picture, YELLOW).mean(0), centre, atol=0.6)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((2, 2), np.uint8),
        np.full((300, 200, 1), 4000, np.uint16),
        np.random.default_rng(0).integers(0, 4096, (600, 600, 3)).astype(np.uint16),
        np.zeros((1, 5000, 3), np.uint8),
        np.zeros((600, 600, 3), np.uint8)[:, ::-1],
    ],
    ids=["2x2", "flat 16-bit", "16-bit", "line", "flipped"],
)
def test_any_image_and_any_landmarks(image: np.ndarray) -> None:
    points = [[np.nan, 1], [1e6, -1e6], [0, 0], [1, 1]]
    found = landmarks(points, spread=np.inf)
    picture = draw_overlay(image, found)
    assert picture.mode == "RGB"
    assert min(picture.size) >= 1
    for spread in (np.nan, 0.0, 1e9):
        draw_overlay(image, landmarks(points, spread=spread))
    draw_overlay(image, landmarks([]))


def test_16_bit_images_use_the_whole_range() -> None:
    image = np.linspace(1000, 3000, 600 * 600).reshape(600, 600).astype(np.uint16)
    values = np.asarray(draw_overlay(image, landmarks([])))
    assert (values.min(), values.max()) == (0, 255)


def test_names_keep_apart_and_inside() -> None:
    taken: list[Box] = []
    for _ in range(4):
        box = _free_box(np.array([50.0, 50.0]), (40, 10), (200, 100), taken, gap=6)
        assert all(_overlap(box, other) == 0 for other in taken)
        taken.append(box)
    corner = _free_box(np.array([199.0, 0.0]), (40, 10), (200, 100), [], gap=6)
    assert corner[0] >= 0
    assert corner[1] >= 0
    assert corner[2] <= 200


def test_a_name_at_the_edge_is_not_cut() -> None:
    inner, edge = (
        draw_overlay(np.zeros((600, 800), np.uint8), landmarks([point], spread=0))
        for point in ([790.0, 300.0], [790.0, 1.0])
    )
    white = [len(where(picture, (255, 255, 255))) for picture in (inner, edge)]
    assert white[0] == white[1] > 50


def test_it_is_written_whole(tmp_path: Path) -> None:
    for name in ("a.png", "new/b.jpg"):
        write_overlay(tmp_path / name, np.zeros((60, 80), np.uint8), landmarks([[10, 10]]))
        with Image.open(tmp_path / name) as picture:
            assert picture.size == (560, 420)
    with pytest.raises(ValueError, match="unknown file extension"):
        write_overlay(tmp_path / "c.xyz", np.zeros((60, 80), np.uint8), landmarks([]))
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.png", "b.jpg", "new"]
