"""A bundle's golden vectors as a data set, and their landmarks as a reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mahtrt.bundle.golden import GoldenVector
from mahtrt.data.feed import Feed, Image
from mahtrt.data.sample import Sample
from mahtrt.runtime.decode import landmark_names
from mahtrt.runtime.landmarks import Landmarks, with_outputs
from mahtrt.spec import ModelSpec


class GoldenImages:
    """A bundle's golden vectors as a data set without annotations."""

    source = "golden images of the bundle"

    def __init__(self, vectors: Sequence[GoldenVector]) -> None:
        self._vectors = tuple(vectors)
        self.names = tuple(vector.name for vector in vectors)

    def __len__(self) -> int:
        return len(self._vectors)

    def __getitem__(self, index: int) -> Sample:
        vector = self._vectors[index]
        # Its landmarks are the reference's own, not the truth.
        return Sample(vector.name, vector.image, None, vector.spacing_mm, vector.others)

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))


class RecordedLandmarks:
    """What the reference gave for the golden images, in place of the reference.

    It takes part in a comparison like a session, but knows the golden images alone.
    """

    threads = None  # nothing is computed
    device = ""

    def __init__(self, vectors: Sequence[GoldenVector], spec: ModelSpec) -> None:
        self.spec = spec
        self._vectors, self._names = tuple(vectors), landmark_names(spec)

    def run(self, *images: Image) -> Landmarks:
        """What was recorded of a golden image: no confidence and no spread."""
        (vector,) = (each for each in self._vectors if each.image is images[0])
        unknown, names = np.full(len(vector.points_px), np.nan, np.float32), self._names
        found = Landmarks(vector.points_px, unknown, unknown, names, vector.spacing_mm)
        return with_outputs(
            found, {k: kept.values for k, kept in vector.outputs.items()}, self.spec
        )

    @property
    def recorded(self) -> dict[str, int]:
        """Outputs that every vector has, with every how many rows and columns of their maps."""
        kept = [vector.outputs for vector in self._vectors]
        names = [name for name in kept[0] if all(name in each for each in kept)] if kept else []
        return {name: kept[0][name].step for name in names}

    def run_batch(self, images: Sequence[tuple[Image, ...]]) -> list[Landmarks]:
        """See :meth:`run`."""
        return [self.run(*case) for case in images]

    def infer(self, tensor: Feed) -> Mapping[str, NDArray[np.float32]]:
        """Records hold landmarks, not the network's outputs."""
        raise NotImplementedError("recorded landmarks are compared, not timed")

    def close(self) -> None:
        """Nothing is open."""
