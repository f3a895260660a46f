"""Maps between image pixels and the grid of a network's output."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mahtrt.data.map_frames import image_map_from_network, network_map_from_image
from mahtrt.data.preprocess import preprocess
from mahtrt.spec import InputSpec


def spec(resize: Any) -> InputSpec:
    gray: Any = {"channels": 1, "color_order": "gray", "mean": (0.0,), "std": (1.0,)}
    return InputSpec((32, 48), resize=resize, **gray)


def ramp(height: int, width: int) -> np.ndarray:
    """A smooth map in [0, 1], (1, height, width)."""
    rows, columns = np.mgrid[0.5:height, 0.5:width]
    return ((rows / height + columns / width) / 2)[None].astype(np.float32)


@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
@pytest.mark.parametrize("size", [(96, 96), (20, 60), (31, 45)])
@pytest.mark.parametrize("cells", [(32, 48), (16, 24)])
def test_a_map_comes_back_from_the_networks_grid(
    resize: str, size: tuple[int, int], cells: tuple[int, int]
) -> None:
    given = spec(resize)
    _, placement = preprocess(np.zeros(size, np.uint8), given)
    theirs = network_map_from_image(ramp(*size), placement, given.size, cells)
    assert theirs.shape == (1, *cells)
    assert theirs.dtype == np.float32
    filled = np.nan_to_num(theirs, nan=0.5)
    ours = image_map_from_network(filled, placement, given.size, size)
    assert ours.shape == (1, *size)
    inner = (slice(None), *(slice(n // 6, -(n // 6)) for n in size))
    assert np.abs(ours - ramp(*size))[inner].max() < 0.03


@pytest.mark.parametrize("size", [(96, 96), (20, 60)])
def test_the_networks_map_lies_where_the_image_lies_on_its_input(size: tuple[int, int]) -> None:
    given = spec("letterbox")
    picture = np.round(255 * ramp(*size)[0]).astype(np.uint8)
    tensor, placement = preprocess(picture, given)
    found = network_map_from_image(ramp(*size), placement, given.size, given.size)
    inside = np.isfinite(found[0])
    np.testing.assert_allclose(found[0][inside], tensor[0][inside], atol=2 / 255)
    assert (tensor[0][~inside] == 0).all()


def test_what_was_cropped_away_is_unknown() -> None:
    given = spec("center_crop")
    size = (32, 96)
    _, placement = preprocess(np.zeros(size, np.uint8), given)
    found = image_map_from_network(np.ones((2, 16, 24), np.float32), placement, given.size, size)
    assert found.shape == (2, *size)
    assert np.isnan(found[:, :, :24]).all()
    assert np.isnan(found[:, :, 72:]).all()
    np.testing.assert_array_equal(found[:, :, 24:72], 1.0)
