"""Sample, one image with what is known about it, and Dataset, what gives them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.dicom_facts import DicomFacts
from mahtrt.errors import DataError

Image = NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Sample:
    """One case of a data set: the images that a network takes together, and what is known of them.

    Most networks take one image; one that compares takes a pair. All that is known lies on the
    first image.

    Attributes:
        name: Unique within its data set, stable between runs.
        image: (H, W) gray or (H, W, 3) RGB, uint8 or uint16.
        points_px: (K, 2) float32 x, y in the image's pixels (pixel centres at integers), NaN
            where a point is not annotated; None where the data set has no annotations.
        spacing_mm: (row, column) millimetres per pixel, None where it is not known.
        others: The images of the network's further inputs, in the order of its spec.
        visible: (K,) float32, 1 for a point that can be seen, 0 for one that cannot, NaN where
            that is not annotated; None without such annotations.
        target_map: (C, H, W) float32 in [0, 1], the map that belongs to the image; None without.
        labels: (L,) float32, 1 for a label that applies, 0 for one that does not, NaN where that
            is not annotated; None without labels.
        label_names: L names of the labels; none where the data set only knows their order.
        dicom: What a DICOM file says about the first image; None for other images.
    """

    name: str
    image: Image
    points_px: NDArray[np.float32] | None = None
    spacing_mm: tuple[float, float] | None = None
    others: tuple[Image, ...] = ()
    visible: NDArray[np.float32] | None = None
    target_map: NDArray[np.float32] | None = None
    labels: NDArray[np.float32] | None = None
    label_names: tuple[str, ...] = ()
    dicom: DicomFacts | None = None

    @property
    def images(self) -> tuple[Image, ...]:
        """The images of the case, the first one first."""
        return (self.image, *self.others)

    def labels_of(self, names: Sequence[str]) -> NDArray[np.float32] | None:
        """The labels in the order of a network's, which are found by their names.

        Args:
            names: Names of the network's labels. Where either side names none, the order decides.

        Raises:
            DataError: A label that the data set does not know.
        """
        if self.labels is None or not names or not self.label_names:
            return self.labels
        unknown = [name for name in names if name not in self.label_names]
        if unknown:
            known = ", ".join(self.label_names)
            raise DataError(
                self.name,
                got=f"labels {known}",
                expected=f"also {', '.join(unknown)}, which the network tells",
            )
        return self.labels[[self.label_names.index(name) for name in names]]


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
