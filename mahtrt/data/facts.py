"""What decoding an image told, kept with its data set so that nothing decodes it again to know."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.sample import Dataset

ImageKind = Literal["real", "constant", "noise"]


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts of a data set's images, by the names of the samples.

    Attributes:
        digests: Digest of each image of the case (:func:`case_digests`).
        kinds: ImageKind of the image (:func:`mahtrt.data.screening.judge_image`); of several images
            the first that is not real.
    """

    digests: dict[str, tuple[str, ...]] = field(default_factory=dict)
    kinds: dict[str, ImageKind] = field(default_factory=dict)


def facts_of(dataset: Dataset) -> Facts:
    """The facts that a data set keeps; of one that keeps none, an empty table."""
    found = getattr(dataset, "facts", None)
    return found if isinstance(found, Facts) else Facts()


def pixel_digest(image: NDArray[np.generic]) -> str:
    """SHA-256 (hex) of an image's pixels.

    Gray kept as RGB has that of the gray image, and 8 bits kept as 16 that of the 8-bit image.
    """
    image = _without_empty_bits(image)
    if (
        image.ndim == 3
        and np.array_equal(image[..., :1], image[..., 1:2])
        and np.array_equal(image[..., :1], image[..., -1:])
    ):
        image = image[..., 0]
    image = np.ascontiguousarray(image)
    digest = hashlib.sha256(f"{image.shape}{image.dtype.name}".encode())
    digest.update(image.data)
    return digest.hexdigest()


def case_digests(images: Sequence[NDArray[np.generic]]) -> tuple[str, ...]:
    """SHA-256 (hex) of the pixels of each image of a case."""
    return tuple(map(pixel_digest, images))


def _without_empty_bits(image: NDArray[np.generic]) -> NDArray[np.generic]:
    """The 8-bit image that a 16-bit one was made of: by repeating its bits, or shifting them."""
    if image.dtype != np.uint16:
        return image
    wide: NDArray[np.uint16] = image.astype(np.uint16, copy=False)
    high, low = wide >> 8, wide & 255
    for kept, other in ((high, low - high), (high, low), (low, high)):
        if not other.any():
            return kept.astype(np.uint8)
    return image
