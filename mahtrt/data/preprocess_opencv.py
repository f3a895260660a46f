"""Resizing as versions 1 and 2 of the preprocessing did it: with OpenCV.

Bundles of these versions were judged with it, so their images are prepared with it still. What it
gives depends on the release of OpenCV: ``cubic`` and ``nearest`` differ between 4.x and 5.0.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mahtrt.data.area_mean import shrink_by_area
from mahtrt.errors import SpecError
from mahtrt.spec import Interpolation

_INTERPOLATIONS: dict[Interpolation, int] = {
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "nearest": cv2.INTER_NEAREST_EXACT,
}


def resize_with_opencv(
    image: NDArray[np.generic], height: int, width: int, interpolation: Interpolation, version: int
) -> NDArray[np.generic]:
    """An image at another size.

    Args:
        image: (H, W) or (H, W, 3), uint8 or uint16.
        height, width: In pixels.
        version: 1 or 2.

    Returns:
        (height, width) or (height, width, 3) of the same dtype.

    Raises:
        SpecError: An interpolation that these versions do not have.
    """
    if image.shape[:2] == (height, width):
        return image
    if interpolation == "area":
        return _resize_by_area(image, height, width, version)
    if interpolation not in _INTERPOLATIONS:
        raise SpecError(
            "interpolation",
            got=f"{interpolation} with version {version} of the preprocessing",
            expected=f"area, {', '.join(_INTERPOLATIONS)}",
            fix="Build the bundle again.",
        )
    return _resize(image, height, width, _INTERPOLATIONS[interpolation])


def _resize_by_area(
    image: NDArray[np.generic], height: int, width: int, version: int
) -> NDArray[np.generic]:
    """Means along an axis that shrinks, linear along one that grows: means give blocks there."""
    least = min(height, image.shape[0]), min(width, image.shape[1])
    if least == (height, width):
        return shrink_by_area(image, height, width)
    if least == image.shape[:2] or version == 1:
        return _resize(image, height, width, cv2.INTER_LINEAR)
    # One axis after the other, rounded once.
    means = _resize(image.astype(np.float32), *least, cv2.INTER_AREA)
    exact = np.rint(_resize(means, height, width, cv2.INTER_LINEAR))
    resized: NDArray[np.generic] = exact.astype(image.dtype)
    return resized


def _resize(
    image: NDArray[np.generic], height: int, width: int, method: int
) -> NDArray[np.generic]:
    resized: NDArray[np.generic] = cv2.resize(image, (width, height), interpolation=method)
    return resized
