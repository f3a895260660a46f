"""The ranges that tensors take on real images, and the JSON that keeps them.

Images are streamed through ONNX Runtime once. Only the taps of the tensors leave the graph
(:mod:`mahtrt.graph.taps`), and go into one histogram per tensor, so memory does not depend
on the number of images, nor on the size of the tensors beyond what inference itself needs.

The same pass notes what the ranges were after a part of the images, for the calibration card
(:mod:`mahtrt.calibration.card`): a snapshot is a copy of the histograms.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from mahtrt.calibration.histogram import StreamingHistogram
from mahtrt.calibration.methods import DEFAULT_PERCENTILE, amax_by_method
from mahtrt.calibration.seen import RangeLooker, SeenPart, SeenTensor
from mahtrt.data.preprocess_version import PREPROCESS_VERSION
from mahtrt.digest import sha256_of_bytes
from mahtrt.errors import DataError, UsageError
from mahtrt.graph.runner import Images

SCHEMA = "mahtrt.ranges/1"

# Where the ranges are noted on the way: these shares of the images, of at least SNAPSHOT_IMAGES.
SNAPSHOT_SHARES = (Fraction(1, 8), Fraction(1, 4), Fraction(1, 2), Fraction(3, 4))
SNAPSHOT_IMAGES = 8


@dataclass(frozen=True, slots=True)
class TensorRange:
    """What was seen of one tensor.

    Attributes:
        minimum, maximum: Exact, over every value of every image.
        amax: Method -> magnitude that INT8 still represents; 0.0 if the tensor was always zero.
        saturation: Method -> share of the sampled values beyond its ``amax``.
        values: How many values ``minimum`` and ``maximum`` are of.
        sampled: How many of them went into the histogram behind ``amax``.
        history: Method -> its ``amax`` after each of ``Ranges.snapshots`` images.
        centre: What was subtracted before rounding when the range was learned, ``amax`` being the
            distance from it; None where nothing was learned, or before centres were.
    """

    minimum: float
    maximum: float
    amax: Mapping[str, float]
    saturation: Mapping[str, float]
    values: int
    sampled: int
    history: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    centre: float | None = None


@dataclass(frozen=True, slots=True)
class Ranges:
    """The ranges of all calibrated tensors.

    Attributes:
        tensors: Tensor name -> its range.
        images: How many images were seen.
        percentile: What the method ``percentile`` means.
        digest: SHA-256 over the SHA-256 of each preprocessed image, in their order.
        preprocess_version: ``PREPROCESS_VERSION`` of the preprocessing that made them.
        snapshots: Numbers of images after which the ranges were noted on the way.
    """

    tensors: Mapping[str, TensorRange]
    images: int
    digest: str
    preprocess_version: int
    percentile: float = DEFAULT_PERCENTILE
    schema: str = SCHEMA
    snapshots: tuple[int, ...] = ()

    def to_json(self) -> str:
        """The ranges as indented JSON: equal ranges give equal text. What is empty is left out."""
        table = _without(asdict(self), "snapshots")
        table["tensors"] = {
            k: _without(t, "history", "centre") for k, t in table["tensors"].items()
        }
        return json.dumps(table, indent=1) + "\n"


def collect_ranges(
    model_path: Path,
    tensors: Sequence[str],
    images: Images,
    *,
    percentile: float = DEFAULT_PERCENTILE,
    progress: Callable[[int, int], None] | None = None,
    threads: int | None = None,
) -> Ranges:
    """Run images through a model and note the range of some tensors.

    Args:
        model_path: The floating-point ONNX model, one image input, static shapes.
        tensors: Names of the tensors (:func:`mahtrt.calibration.qdq.tensors_to_calibrate`).
        images: Preprocessed, one at a time; read once. For a model with a batch of more than
            one, the last batch is filled up with its own images.
        percentile: What the method ``percentile`` keeps, in (0, 100].
        progress: Called with the images done and their number.
        threads: For ONNX Runtime; None lets it choose.

    Raises:
        DataError: No images, an image of the wrong shape, or activations that are not finite.
        ModelError: A model that cannot be run, or lacks one of the tensors.
    """
    check_percentile(percentile)
    looker, total = RangeLooker(model_path, tensors, threads), len(images)
    remaining = iter(images)

    def told(done: int) -> None:
        if progress:
            progress(done, total)

    def parts() -> Iterator[SeenPart]:
        for start, stop in segments(total, looker.batch):
            yield looker.look_at(islice(remaining, stop - start), start, told)

    return ranges_of_parts(parts(), percentile, snapshots_of(total, looker.batch))


def check_percentile(percentile: float) -> None:
    """Refuse what no percentile can be.

    Raises:
        UsageError: Not in (0, 100].
    """
    if not 0 < percentile <= 100:
        raise UsageError("percentile", got=str(percentile), expected="more than 0, at most 100")


def snapshots_of(images: int, batch: int) -> tuple[int, ...]:
    """After how many images ranges are noted on the way: after whole batches."""
    shares = SNAPSHOT_SHARES if images >= SNAPSHOT_IMAGES else ()
    found = {_whole(int(share * images), batch) for share in shares}
    return tuple(sorted(number for number in found if number < images))


def segments(images: int, batch: int, longest: int | None = None) -> list[tuple[int, int]]:
    """Parts of a number of images, start and end, that no batch and no snapshot lies across.

    Args:
        batch: Images per inference.
        longest: About the most images of a part; None for no limit.
    """
    ends = {0, images, *snapshots_of(images, batch)}
    if longest is not None:
        ends |= set(range(0, images, _whole(longest, batch)))
    return list(pairwise(sorted(ends)))


def _whole(images: int, batch: int) -> int:
    """The number of images that fill whole batches, at least so many."""
    return -(-images // batch) * batch


def ranges_of_parts(
    parts: Iterable[SeenPart], percentile: float, snapshots: Sequence[int]
) -> Ranges:
    """The ranges of all images, of what was seen in parts of them.

    Args:
        parts: In the order of the images; no part lies across a snapshot.
        snapshots: Numbers of images after which the ranges are noted on the way.

    Raises:
        DataError: No images.
    """
    whole: SeenPart | None = None
    before: dict[int, dict[str, tuple[StreamingHistogram, float]]] = {}
    for part in parts:
        if whole is None:
            whole = part
        else:
            whole.merge(part)
        if whole.images in snapshots:
            noted = {k: (s.histogram.copy(), s.largest) for k, s in whole.tensors.items()}
            before[whole.images] = noted
    if whole is None or not whole.images:
        raise DataError("calibration images", got="none", expected="at least one image")
    past = list(before.values())
    return Ranges(
        tensors={
            name: _range_of(seen, percentile, [each[name] for each in past])
            for name, seen in whole.tensors.items()
        },
        images=whole.images,
        digest=sha256_of_bytes(b"".join(whole.digests)),
        preprocess_version=PREPROCESS_VERSION,
        percentile=percentile,
        snapshots=tuple(before),
    )


def _range_of(
    seen: SeenTensor, percentile: float, before: Sequence[tuple[StreamingHistogram, float]]
) -> TensorRange:
    """The range, with its history from histograms and largest magnitudes of before."""
    amax = amax_by_method(seen.histogram, seen.largest, percentile)
    past = [amax_by_method(*part, percentile) for part in before]
    return TensorRange(
        minimum=seen.minimum,
        maximum=seen.maximum,
        amax=amax,
        saturation={method: _saturation(seen, a) for method, a in amax.items()},
        values=seen.values,
        sampled=seen.histogram.total,
        history={method: tuple(p[method] for p in past) for method in amax} if past else {},
    )


def _saturation(seen: SeenTensor, amax: float) -> float:
    # Within its last bin the histogram does not know that nothing is above the maximum.
    return 0.0 if amax >= seen.largest else round(seen.histogram.fraction_above(amax), 9)


def _without(table: dict[str, Any], *names: str) -> dict[str, Any]:
    """A table without those of the named fields that are empty."""
    return {k: v for k, v in table.items() if k not in names or v not in (None, {}, ())}
