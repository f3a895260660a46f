"""Refusing calibration images that no camera made: constant ones and noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mahtrt.errors import DataError

# Neighbouring pixels of photographs and radiographs, fitted to a network's input, correlate by
# 0.8 and more; independent noise by 0.0 (its standard deviation over 64x64 pixels is 0.016).
_MIN_NEIGHBOUR_CORRELATION = 0.3


def check_calibration_image(tensor: NDArray[np.float32], name: str) -> None:
    """Refuse a preprocessed image that says nothing about real activations.

    Args:
        tensor: (C, H, W), as preprocessing gave it.
        name: The image, for the message.

    Raises:
        DataError: Values that are not finite, a constant image, or random noise.
    """
    expected = "a real image, like those the network will see"
    if not np.isfinite(tensor).all():
        raise DataError(
            f"calibration image {name}", got="values that are not finite", expected=expected
        )
    if float(np.ptp(tensor[0])) < 1e-6:
        raise DataError(f"calibration image {name}", got="a constant image", expected=expected)
    correlation = neighbour_correlation(tensor)
    if correlation < _MIN_NEIGHBOUR_CORRELATION:
        raise DataError(
            f"calibration image {name}",
            got=f"random noise (neighbouring pixels correlate by {correlation:.2f})",
            expected=expected,
            fix="Ranges from noise do not fit real images; give a sample of the training images.",
        )


def neighbour_correlation(tensor: NDArray[np.float32]) -> float:
    """Pearson correlation between horizontally adjacent pixels of a (C, H, W) image."""
    left, right = tensor[..., :-1].ravel().astype(np.float64), tensor[..., 1:].ravel()
    left, right = left - left.mean(), right - right.mean(dtype=np.float64)
    scale = float(np.sqrt((left**2).sum() * (right**2).sum()))
    return float((left * right).sum()) / scale if scale else 0.0
