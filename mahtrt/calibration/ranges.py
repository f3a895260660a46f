"""The ranges that tensors take on real images, and the JSON that keeps them.

Images are streamed through ONNX Runtime once. Only the taps of the tensors leave the graph
(:mod:`mahtrt.graph.taps`), and go into one histogram per tensor, so memory does not depend
on the number of images, nor on the size of the tensors beyond what inference itself needs.

The same pass notes what the ranges were after a part of the images, for the calibration card
(:mod:`mahtrt.calibration.card`): a snapshot is a copy of the histograms.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.calibration.histogram import StreamingHistogram
from mahtrt.calibration.methods import DEFAULT_PERCENTILE, amax_by_method
from mahtrt.data.preprocess_version import PREPROCESS_VERSION
from mahtrt.errors import DataError, UsageError
from mahtrt.graph.graph_file import load_onnx
from mahtrt.graph.runner import ImageRunner, Images
from mahtrt.graph.taps import STATISTICS, tap

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
        digest: SHA-256 over the preprocessed images, in their order.
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
    if not 0 < percentile <= 100:
        raise UsageError("percentile", got=str(percentile), expected="more than 0, at most 100")
    tapped, values = tap(load_onnx(model_path), tensors)
    runner = ImageRunner(tapped, str(model_path), threads)
    del tapped  # as large as the weights
    seen = _AllSeen(values, percentile, len(images))
    digest, done = hashlib.sha256(), 0
    for group in runner.groups(images):
        for feed in group:
            for image in feed.values():
                digest.update(np.ascontiguousarray(image, np.float32).tobytes())
        seen.add(runner.run(group), done, done + len(group))
        done += len(group)
        if progress:
            progress(done, len(images))
    if not done:
        raise DataError("calibration images", got="none", expected="at least one image")
    return seen.result(done, digest.hexdigest())


def _without(table: dict[str, Any], *names: str) -> dict[str, Any]:
    """A table without those of the named fields that are empty."""
    return {k: v for k, v in table.items() if k not in names or v not in (None, {}, ())}


class _AllSeen:
    """What was seen of all tensors so far, and what had been seen on the way."""

    def __init__(self, values: Mapping[str, int], percentile: float, total: int) -> None:
        self.values, self.percentile = values, percentile
        self.tensors = {name: _Seen() for name in values}
        self.snapshots: dict[int, dict[str, tuple[StreamingHistogram, float]]] = {}
        shares = SNAPSHOT_SHARES if total >= SNAPSHOT_IMAGES else ()
        self._due = [int(share * total) for share in shares]

    def add(self, tapped: Sequence[NDArray[np.float32]], image: int, done: int) -> None:
        """Note the taps of the images ``image`` to ``done - 1``."""
        for (name, seen), part in zip(self.tensors.items(), tapped, strict=True):
            seen.add(part, name, image, self.values[name])
        if self._due and done >= self._due[0]:
            self.snapshots[done] = {
                k: (s.histogram.copy(), s.largest) for k, s in self.tensors.items()
            }
            self._due = [n for n in self._due if n > done]

    def result(self, images: int, digest: str) -> Ranges:
        # A batch may have carried a snapshot to the end.
        before = {n: s for n, s in self.snapshots.items() if n < images}
        return Ranges(
            tensors={
                name: seen.result(self.percentile, [parts[name] for parts in before.values()])
                for name, seen in self.tensors.items()
            },
            images=images,
            digest=digest,
            preprocess_version=PREPROCESS_VERSION,
            percentile=self.percentile,
            snapshots=tuple(before),
        )


class _Seen:
    """What was seen of one tensor so far."""

    def __init__(self) -> None:
        self.histogram = StreamingHistogram()
        self.minimum, self.maximum, self.values = math.inf, -math.inf, 0

    @property
    def largest(self) -> float:
        """The largest magnitude of all values."""
        return max(abs(self.minimum), abs(self.maximum))

    def add(self, tapped: NDArray[np.float32], name: str, image: int, values: int) -> None:
        low, high, magnitude = (float(v) for v in tapped[:STATISTICS])
        # A sum is not finite as soon as one of its values is not; a maximum may hide a NaN.
        if not (math.isfinite(low) and math.isfinite(high) and math.isfinite(magnitude)):
            raise DataError(
                f"calibration image {image}",
                got=f"values that are not finite in tensor {name!r}",
                expected="finite activations",
                fix="Check the image and the model's weights; the FP32 model fails here already.",
            )
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)
        self.values += values
        self.histogram.add(tapped[STATISTICS:])

    def result(
        self, percentile: float, before: Sequence[tuple[StreamingHistogram, float]]
    ) -> TensorRange:
        """The range, with its history from histograms and largest magnitudes of before."""
        amax = amax_by_method(self.histogram, self.largest, percentile)
        past = [amax_by_method(*part, percentile) for part in before]
        return TensorRange(
            minimum=self.minimum,
            maximum=self.maximum,
            amax=amax,
            saturation={method: self._saturation(a) for method, a in amax.items()},
            values=self.values,
            sampled=self.histogram.total,
            history={method: tuple(p[method] for p in past) for method in amax} if past else {},
        )

    def _saturation(self, amax: float) -> float:
        # Within its last bin the histogram does not know that nothing is above the maximum.
        return 0.0 if amax >= self.largest else round(self.histogram.fraction_above(amax), 9)
