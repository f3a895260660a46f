"""The calibration card: what an INT8 graph was calibrated on, and whether that was enough.

A scale that still moves when images are added is not calibrated yet; a tensor of which much
saturates was cut too short. The card says both in numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mahtrt.calibration.methods import DEFAULT_METHOD, Method
from mahtrt.calibration.qdq import method_of
from mahtrt.calibration.ranges import Ranges
from mahtrt.errors import some_of

WORST = 10
# The rounding error is proportional to the scale: a tenth more range is a tenth more error.
MOVED_PERCENT = 10.0


@dataclass(frozen=True, slots=True)
class TensorCard:
    """One tensor of a card.

    Attributes:
        tensor: Its name.
        method: That gave its scale.
        amax: The magnitude that INT8 still represents.
        saturation: Share of the sampled values beyond it.
        moved_percent: How far ``amax`` moved from the half of the images to all of them, in
            percent of the latter; None where no snapshot was taken.
    """

    tensor: str
    method: str
    amax: float
    saturation: float
    moved_percent: float | None


@dataclass(frozen=True, slots=True)
class CalibrationCard:
    """What a calibration rests on.

    Attributes:
        images: How many.
        digest: SHA-256 of the preprocessed images, in their order.
        methods: Method -> how many tensors have it.
        snapshots: Images -> median and largest distance of the tensors' ``amax`` from the final
            one, in percent of it.
        most_saturated: The tensors of which the largest share saturates, worst first.
        most_moved: The tensors that moved most over the second half of the images, furthest first.
        warnings: In words, empty where all is well.
    """

    images: int
    digest: str
    methods: Mapping[str, int]
    snapshots: Mapping[int, tuple[float, float]]
    most_saturated: tuple[TensorCard, ...]
    most_moved: tuple[TensorCard, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the manifest."""
        table = asdict(self)
        table["snapshots"] = [
            {"images": images, "median_percent": median, "largest_percent": largest}
            for images, (median, largest) in self.snapshots.items()
        ]
        for name in ("most_saturated", "most_moved", "warnings"):
            table[name] = list(table[name])
        return table


def make_card(
    ranges: Ranges,
    method: Method | Mapping[str, Method] = DEFAULT_METHOD,
) -> CalibrationCard:
    """The card of a calibration.

    Args:
        ranges: What :func:`mahtrt.calibration.ranges.collect_ranges` gave.
        method: As for :func:`mahtrt.calibration.qdq.quantize`.
    """
    methods = {name: method_of(method, name) for name in ranges.tensors}
    distances = _distances(ranges, methods)  # (snapshots, tensors)
    half = _half(ranges)
    rows = [
        TensorCard(
            tensor=name,
            method=methods[name],
            amax=seen.amax[methods[name]],
            saturation=seen.saturation[methods[name]],
            moved_percent=None if half is None else round(float(distances[half, place]), 3),
        )
        for place, (name, seen) in enumerate(ranges.tensors.items())
    ]
    moved = sorted((r for r in rows if r.moved_percent), key=lambda r: -(r.moved_percent or 0.0))
    saturated = sorted((r for r in rows if r.saturation > 0), key=lambda r: -r.saturation)
    return CalibrationCard(
        images=ranges.images,
        digest=ranges.digest,
        methods=dict(sorted(Counter(methods.values()).items())),
        snapshots={
            images: (round(float(np.median(row)), 3), round(float(row.max()), 3))
            for images, row in zip(ranges.snapshots, distances, strict=True)
            if row.size
        },
        most_saturated=tuple(saturated[:WORST]),
        most_moved=tuple(moved[:WORST]),
        warnings=tuple(_warnings(ranges, moved)),
    )


def _distances(ranges: Ranges, methods: Mapping[str, Method]) -> np.ndarray:
    """(snapshots, tensors): distance of each past ``amax`` from the final one, percent of it."""
    result = np.zeros((len(ranges.snapshots), len(ranges.tensors)))
    for place, (name, seen) in enumerate(ranges.tensors.items()):
        final, past = seen.amax[methods[name]], seen.history.get(methods[name])
        if past and final > 0:
            result[:, place] = 100 * np.abs(np.asarray(past) - final) / final
    return result


def _half(ranges: Ranges) -> int | None:
    """Which snapshot is the one after about half of the images."""
    places = range(len(ranges.snapshots))
    return min(places, key=lambda i: abs(2 * ranges.snapshots[i] - ranges.images), default=None)


def _warnings(ranges: Ranges, moved: Sequence[TensorCard]) -> list[str]:
    if not ranges.snapshots:
        return [f"{ranges.images} image(s) are too few to see whether more would move the scales"]
    far = [row for row in moved if (row.moved_percent or 0.0) > MOVED_PERCENT]
    if not far:
        return []
    some = some_of([f"{row.tensor} by {row.moved_percent:.0f}%" for row in far])
    return [
        f"more images would still move the scales: over the second half, {len(far)} of "
        f"{len(ranges.tensors)} moved by more than {MOVED_PERCENT:g}% ({some})"
    ]
