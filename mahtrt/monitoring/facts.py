"""What a monitor keeps of an image: a dozen numbers, and no pixel of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.spacing import Spacing

_ROWS = 32  # that are looked at, evenly spread
_COLUMNS = 256  # likewise; each with its neighbour to the right


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What is known of an image as it came in.

    Intensities are shares of the largest value that the image's type holds; of colours, green is
    looked at.

    Attributes:
        size: (rows, columns).
        bits: Of a sample, 8 or 16.
        channels: 1 of a gray image, 3 of colours.
        spacing_mm: (row, column) mm per pixel, None where unknown.
        p5, p50, p95: Intensity that 5, 50 and 95 percent of the pixels have at most.
        saturated: Share of pixels that are as dark or as bright as the type allows.
        detail: Mean difference of horizontal neighbours, as a share of ``p95 - p5``: high in
            noise, low where the image is blurred or was enlarged.
    """

    size: tuple[int, int]
    bits: int
    channels: int
    spacing_mm: Spacing | None
    p5: float
    p50: float
    p95: float
    saturated: float
    detail: float

    @property
    def contrast(self) -> float:
        """``p95 - p5``."""
        return self.p95 - self.p5


def facts_of(image: NDArray[Any], spacing_mm: Spacing | None = None) -> ImageFacts:
    """The facts of an image, from 32 rows of up to 256 pairs of neighbours each.

    Args:
        image: (H, W), (H, W, 1) or (H, W, 3), uint8 or uint16, as a session takes it, on the
            CPU.
        spacing_mm: (row, column) mm per pixel, where known.
    """
    rows, columns = image.shape[:2]
    channels = image.shape[2] if image.ndim == 3 else 1
    plane = image if image.ndim == 2 else image[..., channels // 2]
    across = _spread_out(max(1, columns - 1), _COLUMNS)
    down = _spread_out(rows, _ROWS)[:, None]
    left, right = plane[down, across], plane[down, np.minimum(across + 1, columns - 1)]
    most = int(np.iinfo(plane.dtype).max)
    values = left.ravel()
    ranks = [int(share * (values.size - 1)) for share in (0.05, 0.5, 0.95)]
    # The least and the largest are not asked for: NumPy would sort for them too.
    p5, p50, p95 = (float(values_at) / most for values_at in np.partition(values, ranks)[ranks])
    saturated = np.count_nonzero(values == 0) + np.count_nonzero(values == most)
    difference = np.abs(left.astype(np.int32) - right).mean() / most
    return ImageFacts(
        size=(rows, columns),
        bits=8 * plane.dtype.itemsize,
        channels=channels,
        spacing_mm=spacing_mm,
        p5=p5,
        p50=p50,
        p95=p95,
        saturated=saturated / values.size,
        detail=float(difference) / max(p95 - p5, 1 / most),
    )


def _spread_out(count: int, most: int) -> NDArray[np.intp]:
    """Numbers below ``count``, evenly spread, ``most`` of them where there are so many."""
    return np.linspace(0, count - 1, min(most, count)).astype(np.intp)
