"""Sample, one image with what is known about it, and Dataset, what gives them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of a data set.

    Attributes:
        name: Unique within its data set, stable between runs.
        image: (H, W) gray or (H, W, 3) RGB, uint8 or uint16.
        points_px: (K, 2) float32 x, y in the image's pixels (pixel centres at integers), NaN
            where a point is not annotated; None where the data set has no annotations.
        spacing_mm: (row, column) millimetres per pixel, None where it is not known.
    """

    name: str
    image: NDArray[np.generic]
    points_px: NDArray[np.float32] | None = None
    spacing_mm: tuple[float, float] | None = None


class Dataset(Protocol):
    """A sized, indexable collection of samples; images are decoded by ``dataset[i]``.

    Attributes:
        source: What the user named.
        names: The samples' names, without decoding.
    """

    @property
    def source(self) -> str: ...
    @property
    def names(self) -> Sequence[str]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Sample: ...
    def __iter__(self) -> Iterator[Sample]: ...
