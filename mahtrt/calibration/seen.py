"""What is seen of tensors in some images, and how parts of that merge.

Least and largest values, whole counts and the digest of each image: all of it merges exactly, in
whatever parts the images were looked at, so that the ranges of many machines are those of one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mahtrt.calibration.histogram import StreamingHistogram
from mahtrt.data.feed import Feed
from mahtrt.errors import DataError
from mahtrt.graph.graph_file import load_onnx
from mahtrt.graph.runner import ImageRunner
from mahtrt.graph.taps import STATISTICS, tap


@dataclass(slots=True)
class SeenTensor:
    """What was seen of one tensor.

    Attributes:
        minimum, maximum: Over every value; infinite before there was one.
        values: How many values these are of.
        histogram: Magnitudes of a sample of them.
    """

    minimum: float = math.inf
    maximum: float = -math.inf
    values: int = 0
    histogram: StreamingHistogram = field(default_factory=StreamingHistogram)

    @property
    def largest(self) -> float:
        """The largest magnitude of all values."""
        return max(abs(self.minimum), abs(self.maximum))

    def add(self, tapped: NDArray[np.float32], name: str, image: int, values: int) -> None:
        """Note the tap of an inference (:mod:`mahtrt.graph.taps`) that begins with an image.

        Raises:
            DataError: Values that are not finite.
        """
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

    def merge(self, other: SeenTensor) -> None:
        """Add what was seen elsewhere."""
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)
        self.values += other.values
        self.histogram.merge(other.histogram)


@dataclass(slots=True)
class SeenPart:
    """What was seen of all tensors in images that follow each other.

    Attributes:
        digests: SHA-256 of each preprocessed image, in order.
    """

    tensors: dict[str, SeenTensor]
    digests: list[bytes] = field(default_factory=list)

    @property
    def images(self) -> int:
        """How many they are."""
        return len(self.digests)

    def merge(self, later: SeenPart) -> None:
        """Add what was seen in the images that follow."""
        for name, seen in self.tensors.items():
            seen.merge(later.tensors[name])
        self.digests += later.digests


class RangeLooker:
    """A model whose tensors are looked at.

    Args:
        model_path: The floating-point ONNX model, one image input, static shapes.
        tensors: Names of the tensors.
        threads: For ONNX Runtime; None lets it choose.

    Raises:
        ModelError: A model that cannot be run, or lacks one of the tensors.
    """

    def __init__(self, model_path: Path, tensors: Sequence[str], threads: int | None) -> None:
        tapped, self._values = tap(load_onnx(model_path), tensors)
        self._runner = ImageRunner(tapped, str(model_path), threads)

    @property
    def batch(self) -> int:
        """Images per inference."""
        return self._runner.batch

    def look_at(
        self,
        images: Iterable[Feed],
        first: int = 0,
        progress: Callable[[int], None] | None = None,
    ) -> SeenPart:
        """What is seen of the tensors in some images that follow each other.

        Args:
            first: Number of the first of them in the whole set, for messages and progress.
            progress: Called with the images of the whole set that are done.

        Raises:
            DataError: An image of the wrong shape, or activations that are not finite.
        """
        seen = SeenPart({name: SeenTensor() for name in self._values})
        for group in self._runner.groups(images):
            parts = self._runner.run(group)
            for (name, values), tapped in zip(self._values.items(), parts, strict=True):
                seen.tensors[name].add(tapped, name, first + seen.images, values)
            seen.digests += map(_digest, group)
            if progress:
                progress(first + seen.images)
        return seen


def _digest(feed: Feed) -> bytes:
    digest = hashlib.sha256()
    for image in feed.values():
        digest.update(np.ascontiguousarray(image, np.float32).tobytes())
    return digest.digest()
