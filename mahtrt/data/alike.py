"""Images of a single colour, in which nothing can be found."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ALL_ALIKE = "all pixels are alike"


def is_alike(image: NDArray[np.generic]) -> bool:
    """Whether all pixels of an image (H, W) or (H, W, 3) are the same.

    The first row decides of almost every image, so that only few are looked through.
    """
    first = image[0, 0]
    return bool((image[0] == first).all() and (image == first).all())
