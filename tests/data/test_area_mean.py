"""Shrinking by area, held against OpenCV's and against the definition."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mahtrt.data import area_mean
from mahtrt.data.area_mean import shrink_by_area


def noise(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def weights(length: int, count: int) -> NDArray[np.float64]:
    """How much of each pixel each new pixel covers, (count, length), rows that sum to 1."""
    edges = np.arange(count + 1) * length / count
    pixels = np.arange(length)
    low = np.maximum(edges[:-1, None], pixels)
    high = np.minimum(edges[1:, None], pixels + 1)
    return np.maximum(high - low, 0) * count / length


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(2, 90), columns=st.integers(2, 90), channels=st.sampled_from([1, 3]),
    data=st.data(),
)  # fmt: skip
def test_each_pixel_is_the_mean_of_what_it_covers(
    rows: int, columns: int, channels: int, data: st.DataObject
) -> None:
    height, width = data.draw(st.integers(1, rows)), data.draw(st.integers(1, columns))
    image = noise(rows, columns, channels, seed=rows * columns)
    exact = np.einsum("hr,rck,wc->hwk", weights(rows, height), image, weights(columns, width))
    # Called directly, so that sizes at which OpenCV would do it are judged too.
    found = area_mean._shrink(image, height, width)
    assert found.dtype == np.uint8
    assert np.abs(found - exact).max() <= 0.5 + 1e-6
    gray = area_mean._shrink(np.ascontiguousarray(image[..., 0]), height, width)
    np.testing.assert_array_equal(gray, found[..., 0])


def test_where_many_means_are_halves_some_round_the_other_way() -> None:
    image = noise(2400, 1935)
    expected = cv2.resize(image, (300, 400), interpolation=cv2.INTER_AREA)
    difference = np.abs(shrink_by_area(image, 400, 300).astype(int) - expected)
    assert difference.max() == 1
    assert 50e-5 < (difference != 0).mean() < 80e-5  # as the docstring says


@pytest.mark.parametrize("shape", [(967, 1200), (967, 1200, 3)])
@pytest.mark.parametrize("size", [(206, 256), (333, 400), (1, 1), (967, 40), (13, 1200)])
def test_opencv_gives_the_same_grey_levels(
    shape: tuple[int, ...], size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = cv2.GaussianBlur(noise(*shape), (5, 5), 0)
    expected = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
    if size == (206, 256):  # large enough a table for one row at a time, and for several
        monkeypatch.setattr(area_mean, "_TABLE_ENTRIES", 9 * 1201 * (image.size // (967 * 1200)))
    found = shrink_by_area(image, *size)
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1
    assert (difference != 0).mean() < 1e-3


def test_the_table_is_used_where_it_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    monkeypatch.setattr(area_mean, "_shrink", lambda image, *size: used.append(size))
    shrink_by_area(noise(967, 1200), 206, 256)
    assert used == [(206, 256)]
    for image, size in (
        (noise(967, 1200), (500, 600)),  # too little smaller
        (noise(960, 1200), (240, 300)),  # integer factors
        (noise(967, 1200).astype(np.uint16), (206, 256)),
        (noise(8, 2**18), (2, 100)),  # one row needs more than the table
    ):
        assert shrink_by_area(image, *size).shape == size
    assert len(used) == 1


def test_rows_that_are_apart_in_memory() -> None:
    image = noise(500, 700, 3)
    for view in (image[20:-30, 10:-50], image[::-1, ::-1], image[..., ::2][..., 0]):
        np.testing.assert_array_equal(
            shrink_by_area(view, 100, 120), shrink_by_area(view.copy(), 100, 120)
        )


@pytest.mark.parametrize("level", [0, 1, 127, 255])
def test_an_even_image_stays_even(level: int) -> None:
    image = np.full((1935, 2400), level, np.uint8)
    assert np.unique(shrink_by_area(image, 413, 512)).tolist() == [level]
