from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mahtrt.data import gray
from mahtrt.data.gray import GRAY_WEIGHTS, gray_from_rgb, gray_in_numpy, opencv_is_exact


def exact(image: NDArray[np.generic]) -> NDArray[np.int64]:
    found: NDArray[np.int64] = (image.astype(np.int64) @ np.array(GRAY_WEIGHTS) + 2**14) >> 15
    return found


def noise(dtype: type[np.generic], *shape: int) -> NDArray[np.generic]:
    most = np.iinfo(np.dtype(dtype)).max
    return np.random.default_rng(0).integers(0, most, shape, np.dtype(dtype), endpoint=True)


def test_every_colour_of_8_bits() -> None:
    assert sum(GRAY_WEIGHTS) == 2**15
    half = np.indices((256, 256), np.uint8).transpose(1, 2, 0)  # (green, blue)
    colours = np.empty((256, 256, 3), np.uint8)
    colours[..., 1:] = half
    for red in range(0, 256, 15):
        colours[..., 0] = red
        np.testing.assert_array_equal(gray_from_rgb(colours), exact(colours))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_numpy_and_opencv_are_the_definition(dtype: type[np.generic]) -> None:
    image = noise(dtype, 301, 517, 3)
    assert opencv_is_exact(np.dtype(dtype).name)
    np.testing.assert_array_equal(gray_from_rgb(image), exact(image))
    np.testing.assert_array_equal(gray_in_numpy(image), exact(image))
    white = np.full((3, 5, 3), np.iinfo(np.dtype(dtype)).max, dtype)
    np.testing.assert_array_equal(gray_in_numpy(white), white[..., 0])


def test_an_opencv_with_another_formula_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    real = cv2.cvtColor

    def other(image: NDArray[np.uint8], code: int) -> NDArray[np.uint8]:
        """One level off for one colour of 5,000, as with weights of 14 bits."""
        found = real(image, code)
        return np.where(exact(image) % 2**6 == 5, found + 1, found).astype(image.dtype)

    monkeypatch.setattr(cv2, "cvtColor", other)
    gray.opencv_is_exact.cache_clear()
    try:
        assert not opencv_is_exact("uint8")
        image = noise(np.uint8, 60, 70, 3)
        np.testing.assert_array_equal(gray_from_rgb(image), exact(image))
    finally:
        gray.opencv_is_exact.cache_clear()
