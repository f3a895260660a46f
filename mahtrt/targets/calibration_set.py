"""What the quantisers of other tools are given: images, and how far INT8 may move landmarks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.feed import Feed, batches
from mahtrt.targets.backend import Tensor

PointsOf = Callable[[Mapping[str, Tensor]], NDArray[np.float32]]


class Cases(Protocol):
    """Prepared images by their number, such as :class:`mahtrt.data.subset.NetworkTensors`."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Feed: ...


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationSet:
    """Prepared images, and how a quantiser that checks itself is to judge.

    Attributes:
        cases: Feeds of single cases, of (C, H, W) each, prepared as for the engines.
        batch: Images per inference of the network that is quantised.
        source: What the images are, for reports.
        points_px: Outputs of a batch to landmarks (B, K, 2) in the network's input pixels; None of
            a network without landmarks.
        budget_px: How far landmarks may move from FP32 in the mean, in those pixels.
        minutes: How long a search may take.
    """

    cases: Cases
    batch: int
    source: str
    points_px: PointsOf | None
    budget_px: float
    minutes: float

    def feeds(self, most: int | None = None) -> Iterator[Feed]:
        """Feeds of (B, C, H, W), each made when it is wanted, of the first cases.

        Args:
            most: Number of cases; None takes all.
        """
        count = len(self.cases) if most is None else min(most, len(self.cases))
        cases = (self.cases[place] for place in range(count))
        while group := list(islice(cases, self.batch)):
            yield from (feed for feed, _ in batches(group, self.batch))

    def __str__(self) -> str:
        return f"{len(self.cases)} images of {self.source}"
