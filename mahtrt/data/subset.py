"""Parts of a data set, and its images as network tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.preprocess import preprocess
from mahtrt.data.sample import Dataset, Sample
from mahtrt.errors import DataError
from mahtrt.spec import InputSpec


class Subset:
    """Some samples of a data set, in the order of ``indices``.

    Attributes:
        skipped: What the whole data set left out because it cannot be read.
    """

    def __init__(self, dataset: Dataset, indices: Sequence[int]) -> None:
        self._dataset, self._indices = dataset, tuple(indices)
        self.source = dataset.source
        self.skipped: tuple[str, ...] = getattr(dataset, "skipped", ())
        self.names = tuple(dataset.names[index] for index in self._indices)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Sample:
        return self._dataset[self._indices[index]]

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


class Unannotated:
    """A data set without its annotations: stand-in images for a network of other landmarks."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset, self.source, self.names = dataset, dataset.source, tuple(dataset.names)

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Sample:
        return dataclasses.replace(self._dataset[index], points_px=None)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


class NetworkTensors:
    """The images of a data set as (C, H, W) float32, prepared one at a time."""

    def __init__(self, dataset: Dataset, spec: InputSpec) -> None:
        self._dataset, self._spec = dataset, spec

    def __len__(self) -> int:
        return len(self._dataset)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        for index in range(len(self)):
            yield preprocess(self._dataset[index].image, self._spec)[0]


def spread_out(dataset: Dataset, count: int) -> Subset:
    """At most ``count`` images, evenly spread over a data set."""
    total = len(dataset)
    chosen = np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int))
    return Subset(dataset, chosen.tolist())


def hold_back(dataset: Dataset, count: int) -> tuple[Subset, Subset]:
    """Split a data set: evenly spread images are held back, the rest comes first.

    Args:
        dataset: At least two images.
        count: How many to hold back; never more than half.

    Returns:
        (the rest, the images held back).

    Raises:
        DataError: Fewer than two images.
    """
    total = len(dataset)
    if total < 2:
        raise DataError(
            dataset.source,
            got=f"{total} image(s)",
            expected="at least 2",
            fix="One part calibrates, the other checks; or give --eval.",
        )
    held = np.unique(np.linspace(0, total - 1, min(count, total // 2)).round().astype(int))
    rest = np.setdiff1d(np.arange(total), held)
    return Subset(dataset, rest.tolist()), Subset(dataset, held.tolist())
