"""mahtrt's landmarks of DATA's images, held against those of the user's own pipeline.

What is judged is the mean displacement, over the images, of the landmark where it is largest: one
bad landmark of nineteen is not averaged away, and one odd image of a hundred does not decide alone.
The largest displacement of a single landmark is named beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.datasets import open_dataset
from mahtrt.data.sample import Dataset
from mahtrt.errors import MissingComponentError, ModelError, UsageError, shown
from mahtrt.progress import StageProgress
from mahtrt.runtime.decode import landmark_names
from mahtrt.runtime.expectation.diagnosis import MOST_TRIED, Case, diagnose
from mahtrt.runtime.expectation.error import ExpectationError
from mahtrt.runtime.expectation.matching import matched
from mahtrt.runtime.expectation.mixups import MIXUPS, mixed_up
from mahtrt.runtime.expectation.predictions import read_predictions
from mahtrt.runtime.expectation.records import (
    Agreement,
    Diagnosis,
    ImageParity,
    agreement,
)
from mahtrt.runtime.session import Session
from mahtrt.spec import ModelSpec

Floats = NDArray[np.float64]
EXPECT_PX = 0.25


@dataclass(frozen=True, slots=True)
class Expected:
    """Predictions and the images they are of, brought together.

    Attributes:
        source: The file of predictions.
        dataset: The images, in the order of ``points_px``.
        points_px: (N, K, 2) as the file has them, meant as image pixels.
        landmarks: K names.
        limit_px: The limit on the judged displacement.
    """

    source: str
    dataset: Dataset
    points_px: Floats
    landmarks: tuple[str, ...]
    limit_px: float


def check_options(expect: Path | None, data: str | None, limit_px: float) -> None:
    """Refuse options that cannot be, before any work.

    Raises:
        UsageError: Predictions without images, or a limit that is no length above 0.
    """
    if expect is not None and data is None:
        raise UsageError(
            f"--expect {expect}",
            got="no --data",
            expected="the images that the predictions are of",
            fix="Add --data IMAGES, such as the folder they are in.",
        )
    if not (np.isfinite(limit_px) and limit_px > 0):
        raise UsageError("--expect-px", got=shown(limit_px), expected="pixels of the image above 0")


def read_expected(expect: Path, data: str, spec: ModelSpec, limit_px: float) -> Expected:
    """Read the predictions, and find their images.

    Raises:
        UsageError: The network gives no landmarks.
        DataError: Predictions that cannot be read or are of other images or landmarks, or DATA
            that cannot be opened.
    """
    names = landmark_names(spec)
    if not names:
        raise UsageError(
            f"--expect {expect}",
            got=f"network {spec.family}, which gives no landmarks",
            expected="one with landmarks",
        )
    dataset = open_dataset(data, inputs=spec.input_names)
    predictions = read_predictions(expect, names)
    points = np.stack(matched(predictions, dataset.names))
    return Expected(predictions.source, dataset, points, names, limit_px)


def check_expectation(
    session: Session,
    expected: Expected,
    progress: StageProgress,
    open_fp32: Callable[[], Session | None] | None = None,
    what: str = "",
) -> ImageParity:
    """Compare, and look for the cause where the landmarks do not agree.

    Args:
        session: What is judged.
        open_fp32: Opens the FP32 graph, where the session runs an engine of lower precision.
        what: What the session runs, in words; its own name without them.

    Raises:
        ImageError: An image cannot be read.
        ExpectationError: The landmarks do not agree (exit 3).
    """
    found = _landmarks(session, expected, progress)
    judged = _agreement(what or session.name, found, expected)
    parity = ImageParity(expected.source, judged)
    if judged.passed:
        return parity
    graph = _opened(open_fp32)
    if graph is None:
        raise ExpectationError(
            replace(parity, diagnosis=_diagnosis(session, found, expected, progress))
        )
    with graph:
        found = _landmarks(graph, expected, progress)
        parity = replace(parity, fp32=_agreement("the FP32 graph", found, expected))
        if parity.fp32 is not None and not parity.fp32.passed:
            found_cause = _diagnosis(graph, found, expected, progress)
            parity = replace(parity, diagnosis=found_cause)
    raise ExpectationError(parity)


def _opened(open_fp32: Callable[[], Session | None] | None) -> Session | None:
    """The FP32 graph; None also where it does not open, which changes nothing of the verdict."""
    try:
        return open_fp32() if open_fp32 is not None else None
    except (MissingComponentError, ModelError):
        return None


def _landmarks(session: Session, expected: Expected, progress: StageProgress) -> Floats:
    """(N, K, 2) in image pixels; one image in memory at a time."""
    points, total = [], len(expected.dataset)
    for done, sample in enumerate(expected.dataset):
        progress(f"comparing with {Path(expected.source).name}", done, total, session.name)
        points.append(session.run(*sample.images).points.astype(np.float64))
    return np.stack(points)


def _agreement(what: str, found: Floats, expected: Expected) -> Agreement:
    names = expected.dataset.names, expected.landmarks
    return agreement(what, found, expected.points_px, names, expected.limit_px)


def _diagnosis(
    session: Session, found: Floats, expected: Expected, progress: StageProgress
) -> Diagnosis:
    before = _agreement("", found, expected)
    if not np.isfinite(found).all():
        told = "The network gives coordinates that are no finite numbers."
        return Diagnosis((), None, 0, (), before.judged_px, before.mean_px, told)
    names = tuple(expected.dataset.names)
    mixed = mixed_up(found, expected.points_px, (names, expected.landmarks), expected.limit_px)
    if mixed is not None:
        return Diagnosis((mixed,), None, MIXUPS, names, before.judged_px, before.mean_px)
    moved = np.linalg.norm(found - expected.points_px, axis=-1).mean(axis=1)
    cases = [
        Case(expected.dataset[index], expected.points_px[index]) for index in _some_images(moved)
    ]
    return diagnose(session, cases, expected.limit_px, progress)


def _some_images(moved: Floats) -> list[int]:
    """The worst image, the middle one, the next worst, and so on: every cause meets both kinds."""
    order = [int(index) for index in np.argsort(-moved, kind="stable")]
    middle = order[len(order) // 2 :] + order[: len(order) // 2]
    mixed = [index for pair in zip(order, middle, strict=True) for index in pair]
    return list(dict.fromkeys(mixed))[:MOST_TRIED]
