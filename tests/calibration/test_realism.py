from __future__ import annotations

import numpy as np
import pytest
from tiny_graphs import smooth_images

from mahtrt.calibration.realism import check_calibration_image, neighbour_correlation
from mahtrt.errors import DataError


def test_smooth_images_pass() -> None:
    for image in smooth_images(5, size=64):
        check_calibration_image(image, "a.png")
        assert neighbour_correlation(image) > 0.8


@pytest.mark.parametrize(
    ("image", "got"),
    [
        (np.random.default_rng(0).normal(size=(3, 64, 64)), "random noise"),
        (np.random.default_rng(0).uniform(size=(1, 64, 64)), "random noise"),
        (np.full((3, 32, 32), 0.5), "a constant image"),
        (np.full((3, 32, 32), np.nan), "not finite"),
    ],
)
def test_what_no_camera_made_is_refused(image: np.ndarray, got: str) -> None:
    with pytest.raises(DataError, match=rf"calibration image a\.png: got .*{got}"):
        check_calibration_image(image.astype(np.float32), "a.png")
