"""Are these images pictures of something? Ranges collected on noise describe no activation.

Two statistics of an image decide, both robust over modality, exposure and size:

- *constant*: the deviation of its gray values is below a thousandth of the dtype's range
  (0.26 of 255; a barely exposed 12-bit radiograph stored in 16 bits has five times that);
- *noise*: neighbouring pixels correlate below 0.35. Photographs and radiographs lie above 0.8,
  independent noise at 0, also after JPEG.

A data set is refused when more than half of the images looked at are one or the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.facts import Facts, ImageKind, case_digests, facts_of
from mahtrt.data.sample import Dataset
from mahtrt.errors import DataError

CONSTANT_DEVIATION = 1e-3  # of the dtype's range
NOISE_CORRELATION = 0.35
_LOOKED_AT = 32  # images of a data set, evenly spread
_CROP_PX = 1024


def refuse_unreal_images(dataset: Dataset) -> None:
    """Refuse random or constant images as calibration data.

    Args:
        dataset: Looked at in at most 32 evenly spread places, one image in memory at a time.

    Raises:
        DataError: More than half of the images are noise or constant, or there are none.
        ImageError: An image cannot be read.
    """
    count = len(dataset)
    if not count:
        raise DataError(dataset.source, got="no images", expected="real images")
    chosen = np.unique(np.linspace(0, count - 1, min(count, _LOOKED_AT)).round().astype(int))
    kinds = [_kind_of(dataset, int(index)) for index in chosen]
    constant, noise = kinds.count("constant"), kinds.count("noise")
    if 2 * (constant + noise) > len(kinds):
        kind = "constant" if constant >= noise else "random noise"
        raise DataError(
            dataset.source,
            got=f"{constant + noise} of {len(kinds)} images looked at that are {kind}",
            expected="real images, like those the network will see",
            fix="Ranges from such images ruin INT8 accuracy; give images of the real kind.",
        )


def _kind_of(dataset: Dataset, index: int) -> ImageKind:
    facts, name = facts_of(dataset), dataset.names[index]
    if name not in facts.kinds:
        note_facts(facts, name, dataset[index].images)
    return facts.kinds[name]


def note_facts(facts: Facts, name: str, images: Sequence[NDArray[np.generic]]) -> None:
    """Note all that is ever asked of the pixels of a case's images, while they are at hand."""
    unreal = (kind for image in images if (kind := judge_image(image)) != "real")
    facts.kinds[name], facts.digests[name] = next(unreal, "real"), case_digests(images)


def judge_image(image: NDArray[np.generic]) -> ImageKind:
    """What an image (H, W) or (H, W, 3), uint8 or uint16, is by its statistics."""
    full_range = float(np.iinfo(image.dtype).max)  # type: ignore[type-var]
    gray = _middle(image).astype(np.float32)
    if gray.ndim == 3:
        gray = gray.mean(axis=2)
    if float(gray.std()) < CONSTANT_DEVIATION * full_range:
        return "constant"
    return "noise" if neighbour_correlation(gray) < NOISE_CORRELATION else "real"


def neighbour_correlation(gray: NDArray[np.float32]) -> float:
    """Correlation of pixels with their right and lower neighbours, the mean of both."""
    centred = gray.astype(np.float64) - gray.mean(dtype=np.float64)
    variance = float(np.mean(centred**2))
    right = float(np.mean(centred[:, 1:] * centred[:, :-1]))
    below = float(np.mean(centred[1:] * centred[:-1]))
    return (right + below) / (2 * variance)


def _middle(image: NDArray[np.generic]) -> NDArray[np.generic]:
    """The middle of a large image: its statistics are the same, and its memory bounded."""
    top, left = (max(0, (side - _CROP_PX) // 2) for side in image.shape[:2])
    return image[top : top + _CROP_PX, left : left + _CROP_PX]
