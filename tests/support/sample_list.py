"""A data set in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.sample import Sample


class SampleList:
    """Samples as a data set; ``decoded`` counts how often each was asked for."""

    def __init__(self, samples: Sequence[Sample], source: str = "listed") -> None:
        self.samples, self.source = samples, source
        self.names = tuple(sample.name for sample in samples)
        self.decoded = [0] * len(samples)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int, /) -> Sample:
        self.decoded[index] += 1
        return self.samples[index]

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


def listed(images: Iterable[NDArray[np.generic]], prefix: str = "") -> SampleList:
    """Images without annotations, each named by its index."""
    return SampleList([Sample(f"{prefix}{n}", image) for n, image in enumerate(images)])
