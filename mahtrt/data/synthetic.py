"""Synthetic data sets: cases drawn on use, each from the pair of a seed and its number."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np

from mahtrt.data.facts import Facts
from mahtrt.data.limits import MOST_IMAGES
from mahtrt.data.sample import Sample
from mahtrt.errors import DataError


class SyntheticDataset(ABC):
    """``count`` cases; item ``i`` is drawn from the pair (seed, i), so seeds never share any.

    Args:
        kind: Name of the DATA, such as ``phantom``.
        landmarks: How many points a case has.
        count: Number of cases.
        seed: From 0 to 2^64 - 1.
        points: Indices of the points to give; all where None.

    Raises:
        DataError: A count, seed or point out of range.
    """

    def __init__(
        self,
        kind: str,
        landmarks: int,
        count: int,
        seed: int = 0,
        points: Sequence[int] | None = None,
    ) -> None:
        if not 1 <= count <= MOST_IMAGES or not 0 <= seed < 2**64:
            raise DataError(
                kind,
                got=f"{count} phantoms with seed {seed}",
                expected=f"1 to {MOST_IMAGES}, and a seed from 0 to 2^64 - 1",
            )
        if points is not None and not set(points) <= set(range(landmarks)):
            raise DataError(
                kind,
                got=f"points {list(points)}",
                expected=f"indices from 0 to {landmarks - 1}" if landmarks else "none: it has none",
            )
        self.kind, self.count, self.seed, self.facts = kind, count, seed, Facts()
        self._points = None if points is None else list(points)

    @abstractmethod
    def draw(self, seed: np.random.SeedSequence, name: str) -> Sample:
        """The case of a seed, with all its points."""

    @property
    def source(self) -> str:
        return f"{self.kind}:{self.count}@{self.seed}"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._name(index) for index in range(self.count))

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> Sample:
        if not -self.count <= index < self.count:
            raise IndexError(f"{self.kind} {index} of {self.count}")
        index %= self.count
        # A spawn key cannot run into the words of a large seed, as [seed, index] would.
        seed = np.random.SeedSequence(self.seed, spawn_key=(index,))
        sample, chosen = self.draw(seed, self._name(index)), self._points
        if chosen is None or sample.points_px is None:
            return sample
        visible = None if sample.visible is None else sample.visible[chosen]
        return dataclasses.replace(sample, points_px=sample.points_px[chosen], visible=visible)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(self.count))

    def _name(self, index: int) -> str:
        return f"{self.kind}-{self.seed}-{index}"
