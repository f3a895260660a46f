"""Fakes for the bench: a data set and sessions whose landmarks are known exactly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from mahtrt.data.sample import Sample
from mahtrt.spec import InputSpec, ModelSpec, OutputSpec

LANDMARKS = ("sella", "nasion", "menton")


def make_spec(landmarks: Sequence[str] = LANDMARKS) -> ModelSpec:
    return ModelSpec(
        family="fake",
        inputs=(
            InputSpec(size=(32, 32), channels=1, color_order="gray", mean=(0.5,), std=(0.25,)),
        ),
        outputs=(OutputSpec("landmarks", "landmarks", "network"),),
        landmarks=tuple(landmarks),
    )


@dataclass
class FakeDataset:
    """Images of 64x64 pixels (two image pixels per network pixel) filled with their index."""

    count: int = 5
    annotated: bool = True
    spacing_mm: tuple[float, float] | None = (0.5, 0.5)
    source: str = "fake:5"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{index}.png" for index in range(self.count))

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(self.count))

    def __getitem__(self, index: int) -> Any:
        points = np.array([[10, 20], [30, 40], [50, 60]], np.float32) + index
        return Sample(
            f"{index}.png",
            np.full((64, 64), index, np.uint8),
            points if self.annotated else None,
            self.spacing_mm,
        )


@dataclass
class FakeSession:
    """Finds the annotation, off by a fixed number of image pixels in x.

    Of the images in ``jumps``, every landmark is another ``jump_px`` off, and its spread ten times
    as wide.
    """

    off_px: float = 0.0
    spec: ModelSpec = field(default_factory=make_spec)
    seen: list[int] = field(default_factory=list)
    batches: list[tuple[int, ...]] = field(default_factory=list)
    closed: bool = False
    spread_px: float = float("nan")
    jumps: tuple[int, ...] = ()
    jump_px: float = 20.0
    threads: int | None = None
    device: str = "cpu"

    def run(self, *images: np.ndarray) -> Any:
        (image,) = images
        self.seen.append(int(image[0, 0]))
        points = np.array([[10, 20], [30, 40], [50, 60]], np.float32) + int(image[0, 0])
        off_px, spread = self.off_px, np.full(3, self.spread_px, np.float32)
        if int(image[0, 0]) in self.jumps:
            off_px, spread = off_px + self.jump_px, 10 * spread
        return SimpleNamespace(points=points + np.array([off_px, 0], np.float32), spread=spread)

    def run_batch(self, images: Sequence[tuple[np.ndarray, ...]]) -> list[Any]:
        self.batches.append((len(images),))
        return [self.run(*case) for case in images]

    def infer(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        (tensor,) = feed.values()
        self.batches.append(tensor.shape)
        return {"landmarks": np.zeros((len(tensor), 3, 2), np.float32)}

    def close(self) -> None:
        self.closed = True
