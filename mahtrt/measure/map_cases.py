"""The images whose maps an engine and the reference disagree most about, with their maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.measure.maps import Map, difference

KEPT = 10


@dataclass(frozen=True, slots=True, eq=False)
class MapCase:
    """One map of one image.

    Attributes:
        image: Name of the image.
        output: Name of the map among the network's outputs.
        mean, largest: Absolute difference of engine and reference, as
            :func:`mahtrt.measure.maps.difference` defines it; infinite where a value is not finite.
        engine_map, reference_map: (C, h, w) float32, at the map's own resolution.
    """

    image: str
    output: str
    mean: float
    largest: float
    engine_map: NDArray[np.float32]
    reference_map: NDArray[np.float32]

    def to_dict(self) -> dict[str, Any]:
        """The case without its maps; numbers that are not finite become None."""
        numbers = {"mean": self.mean, "max": self.largest}
        finite = {name: v if np.isfinite(v) else None for name, v in numbers.items()}
        return {"image": self.image, "output": self.output, **finite}


@dataclass(slots=True)
class WorstMaps:
    """The worst maps of one engine so far; no others are kept.

    Attributes:
        outputs: Names of the maps that are compared.
    """

    outputs: tuple[str, ...]
    _cases: list[MapCase] = field(default_factory=list)

    def add(
        self, engine: Mapping[str, Map], reference: Mapping[str, Map], images: Sequence[str]
    ) -> None:
        """Compare the maps of some images.

        Args:
            engine, reference: Every map (N, C, h, w) of the images, by name.
            images: N names.
        """
        for output in self.outputs:
            pairs = zip(images, engine[output], reference[output], strict=True)
            self._cases += [_case(image, output, ours, theirs) for image, ours, theirs in pairs]
        self._cases = list(self.ranked())

    def merge(self, later: WorstMaps) -> None:
        """Add the worst of the images that follow; equal ones stay in the order of the images."""
        self._cases += later._cases
        self._cases = list(self.ranked())

    def ranked(self) -> tuple[MapCase, ...]:
        """The worst maps, the one with the largest mean difference first."""
        return tuple(sorted(self._cases, key=lambda case: -case.mean)[:KEPT])


def _case(image: str, output: str, ours: Map, theirs: Map) -> MapCase:
    apart = difference(ours, theirs)
    maps = (np.array(each, np.float32) for each in (ours, theirs))
    return MapCase(image, output, float(apart.mean()), float(apart.max()), *maps)
