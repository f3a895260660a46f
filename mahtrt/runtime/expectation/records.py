"""What a comparison with the user's own pipeline found: plain data for JSON and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.measure.displacement import compare_points
from mahtrt.schema import plain

Floats = NDArray[np.float64]
WORST_IMAGES = 5


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One image of the worst.

    Attributes:
        mean_px, max_px: Displacement over its landmarks, in image pixels.
        landmark: The one that is furthest away.
    """

    image: str
    mean_px: float
    max_px: float
    landmark: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far mahtrt's landmarks are from the predicted ones, in pixels of the images.

    Attributes:
        what: What gave mahtrt's landmarks: an engine, or a graph and its runtime.
        judged_px: What is held against the limit: the mean displacement over the images of the
            landmark where that is largest.
        landmark: That landmark.
        mean_px: Mean over all landmarks and images.
        max_px: The largest displacement of a single landmark, of ``max_landmark`` in ``max_image``.
        limit_px: The limit.
        worst: The images with the largest mean displacement, the worst first.
    """

    what: str
    images: int
    landmarks: int
    judged_px: float
    landmark: str
    mean_px: float
    max_px: float
    max_landmark: str
    max_image: str
    limit_px: float
    worst: tuple[ImageRow, ...]

    @property
    def passed(self) -> bool:
        """Whether the landmarks agree."""
        return self.judged_px <= self.limit_px


@dataclass(frozen=True, slots=True)
class Explanation:
    """A cause that was tried on some of the images.

    Attributes:
        name: The cause's name, or ``landmark_order`` and ``image_order``, or two names joined by
            ``+``.
        words: What the user's pipeline does, and what the spec says.
        advice: What to change where.
        judged_px: What is left of the judged displacement if mahtrt does the same.
        mean_px: The mean over all landmarks of these images, likewise.
    """

    name: str
    words: str
    advice: str
    judged_px: float
    mean_px: float


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What explains a difference.

    Attributes:
        explanations: The cause; several where these images cannot tell them apart, the nearest
            first; none where nothing tried explains the difference.
        nearest: Where nothing explains it, the cause that leaves least; None where none leaves
            less than there was.
        tried: How many causes were tried that make a difference on these images.
        images: The images they were tried on.
        judged_px, mean_px: Displacement on these images before.
        clue: What a straight line per axis says of the difference; "" without a clear one.
    """

    explanations: tuple[Explanation, ...]
    nearest: Explanation | None
    tried: int
    images: tuple[str, ...]
    judged_px: float
    mean_px: float
    clue: str = ""


@dataclass(frozen=True, slots=True)
class ImageParity:
    """mahtrt's landmarks against those of the user's own pipeline.

    Attributes:
        predictions: The file of predictions.
        agreement: What is judged.
        fp32: The same of the FP32 graph, where an engine of lower precision is over the limit.
        diagnosis: What explains the difference; None where the landmarks agree, or where the FP32
            graph's do.
    """

    predictions: str
    agreement: Agreement
    fp32: Agreement | None = None
    diagnosis: Diagnosis | None = None

    @property
    def passed(self) -> bool:
        return self.agreement.passed

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        found: dict[str, Any] = plain(self)
        return {**found, "passed": self.passed}


def agreement(
    what: str,
    found_px: Floats,
    expected_px: Floats,
    names: tuple[Sequence[str], Sequence[str]],
    limit_px: float,
) -> Agreement:
    """Compare landmarks.

    Args:
        found_px, expected_px: (N, K, 2) in each image's pixels.
        names: Those of the N images and of the K landmarks.
    """
    images, landmarks = names
    moved = compare_points(found_px, expected_px)  # (N, K)
    per_landmark, per_image = moved.mean(axis=0), moved.mean(axis=1)
    worst, (n, k) = int(per_landmark.argmax()), np.unravel_index(int(moved.argmax()), moved.shape)
    rows = [
        ImageRow(
            images[i],
            float(per_image[i]),
            float(moved[i].max()),
            landmarks[int(moved[i].argmax())],
        )
        for i in np.argsort(-per_image, kind="stable")[:WORST_IMAGES]
    ]
    return Agreement(
        what=what,
        images=len(images),
        landmarks=len(landmarks),
        judged_px=float(per_landmark[worst]),
        landmark=landmarks[worst],
        mean_px=float(moved.mean()),
        max_px=float(moved[n, k]),
        max_landmark=landmarks[int(k)],
        max_image=images[int(n)],
        limit_px=limit_px,
        worst=tuple(rows),
    )
