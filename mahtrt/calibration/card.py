"""The calibration card: what an INT8 graph was calibrated on, and whether that was enough.

A scale that still moves when images are added is not calibrated yet; a tensor of which much
saturates was cut too short. The card says both in numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from mahtrt.bundle.origin import CardRecord, SnapshotRecord, TensorCardRecord
from mahtrt.calibration.methods import DEFAULT_METHOD, Method
from mahtrt.calibration.qdq import method_of
from mahtrt.calibration.ranges import Ranges
from mahtrt.errors import some_of

WORST = 10
# The rounding error is proportional to the scale: a tenth more range is a tenth more error.
MOVED_PERCENT = 10.0


def make_card(
    ranges: Ranges,
    method: Method | Mapping[str, Method] = DEFAULT_METHOD,
) -> CardRecord:
    """The card of a calibration.

    Args:
        ranges: What :func:`mahtrt.calibration.ranges.collect_ranges` gave.
        method: As for :func:`mahtrt.calibration.qdq.quantize`.
    """
    methods = {name: method_of(method, name) for name in ranges.tensors}
    distances = _distances(ranges, methods)  # (snapshots, tensors)
    half = _half(ranges)
    rows = [
        TensorCardRecord(
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
    return CardRecord(
        images=ranges.images,
        digest=ranges.digest,
        methods=dict(sorted(Counter(methods.values()).items())),
        snapshots=tuple(
            SnapshotRecord(images, round(float(np.median(row)), 3), round(float(row.max()), 3))
            for images, row in zip(ranges.snapshots, distances, strict=True)
            if row.size
        ),
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


def _warnings(ranges: Ranges, moved: Sequence[TensorCardRecord]) -> list[str]:
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
