"""Pairs of visits: seeded synthetic chest images, what changed between them, and what they show.

The same chest is shone through twice. Findings appear, grow, shrink, vanish or stay between the
visits; the patient stands a little differently and the exposure differs, neither of which is a
change. The map that belongs to a pair lies on the first visit's pixels: the attenuation that came
or went, 1 where it is that of a clear finding. Phantoms are for the demo, for tests and for trying
things without data; they say nothing about how well a network does on patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mahtrt.data.pairs_chest import (
    CHEST_LABELS,
    ZONE_LABELS,
    Finding,
    Plane,
    add_finding,
    draw_chest,
    draw_finding,
)
from mahtrt.data.sample import Sample
from mahtrt.data.synthetic import SyntheticDataset
from mahtrt.errors import DataError

__all__ = ["CHEST_LABELS", "ChestDataset", "PairsDataset", "make_chest", "make_pair"]

_LEAST_SIDE = 64
_CLEAR = 0.3  # attenuation of a clear finding: where the map of changes is 1
_STEADY = 0.2  # share of the findings that are the same at both visits
_UNCHANGED = 0.1  # share of the pairs of which no finding changes


@dataclass(frozen=True, slots=True)
class _Course:
    """A finding and its size at both visits, in parts of its full one."""

    finding: Finding
    first: float
    second: float


def make_pair(
    seed: int | np.random.SeedSequence, name: str = "pair", *, size: tuple[int, int] | None = None
) -> Sample:
    """Draw two visits of one synthetic patient.

    Args:
        seed: Equal seeds give equal pairs.
        name: Name of the sample.
        size: (height, width) in pixels, at least 64 each; None draws an acquisition size.

    Returns:
        The baseline as ``image`` and the follow-up as the one of ``others``, both gray uint8;
        ``target_map`` (1, H, W), what changed; ``labels`` of what the baseline shows, in the
        order of :data:`CHEST_LABELS`.

    Raises:
        DataError: A negative seed, or a size too small to show anything.
    """
    if isinstance(seed, int) and seed < 0:
        raise DataError("phantom seed", got=str(seed), expected="0 or above")
    if size is not None and min(size) < _LEAST_SIDE:
        expected = f"at least {_LEAST_SIDE} pixels on each side"
        raise DataError("phantom size", got=f"{size}", expected=expected)
    rng = np.random.default_rng(seed)
    drawn = int(rng.integers(320, 385))
    height, width = size or (drawn, int(drawn * rng.uniform(0.9, 1.0)))
    is_enlarged = rng.random() < 0.25
    heart = rng.uniform(0.15, 0.18) if is_enlarged else rng.uniform(0.095, 0.115)
    courses = _draw_courses(rng)
    chest = draw_chest(rng, (height, width), heart)
    baseline = _with_findings(chest, [(c.finding, c.first) for c in courses])
    followup = _with_findings(chest, [(c.finding, c.second) for c in courses])
    moved = _move(followup, rng)
    return Sample(
        name=name,
        image=_expose(baseline, rng),
        others=(_expose(moved, rng),),
        target_map=_changes(courses, (height, width)),
        labels=_labels(courses, is_enlarged),
        label_names=CHEST_LABELS,
    )


def make_chest(
    seed: int | np.random.SeedSequence, name: str = "chest", *, size: tuple[int, int] | None = None
) -> Sample:
    """The first visit of a pair alone: its labels, and its own pixels in [0, 1] as the map.

    Args:
        seed: Equal seeds give equal chests, those of :func:`make_pair`.
        name: Name of the sample.
        size: (height, width) in pixels, at least 64 each; None draws an acquisition size.

    Raises:
        DataError: A negative seed, or a size too small to show anything.
    """
    pair = make_pair(seed, name, size=size)
    return Sample(
        name=name,
        image=pair.image,
        target_map=np.divide(pair.image, 255, dtype=np.float32)[None],
        labels=pair.labels,
        label_names=pair.label_names,
    )


class PairsDataset(SyntheticDataset):
    """Pairs of visits with the map of what changed: see :func:`make_pair`.

    Args:
        count: Number of cases; item ``i`` is drawn from the pair (seed, i).
        seed: From 0 to 2^64 - 1.
        points: None, since no points are annotated.

    Raises:
        DataError: A count or seed out of range, or a point.
    """

    def __init__(self, count: int, seed: int = 0, points: Sequence[int] | None = None) -> None:
        super().__init__("phantom-pairs", 0, count, seed, points)

    def draw(self, seed: np.random.SeedSequence, name: str) -> Sample:
        """See :meth:`mahtrt.data.synthetic.SyntheticDataset.draw`."""
        return make_pair(seed, name)


class ChestDataset(SyntheticDataset):
    """Single chests with labels, and themselves as the map: see :func:`make_chest`.

    Args:
        count: Number of cases; item ``i`` is drawn from the pair (seed, i).
        seed: From 0 to 2^64 - 1.
        points: None, since no points are annotated.

    Raises:
        DataError: A count or seed out of range, or a point.
    """

    def __init__(self, count: int, seed: int = 0, points: Sequence[int] | None = None) -> None:
        super().__init__("phantom-chest", 0, count, seed, points)

    def draw(self, seed: np.random.SeedSequence, name: str) -> Sample:
        """See :meth:`mahtrt.data.synthetic.SyntheticDataset.draw`."""
        return make_chest(seed, name)


def _draw_courses(rng: np.random.Generator) -> list[_Course]:
    labels = rng.choice(len(ZONE_LABELS), size=int(rng.integers(1, 5)), replace=False).tolist()
    if rng.random() < 0.25:
        labels.append(CHEST_LABELS.index("effusion"))
    unchanged = rng.random() < _UNCHANGED
    return [_draw_course(rng, draw_finding(rng, label), unchanged) for label in labels]


def _draw_course(rng: np.random.Generator, finding: Finding, unchanged: bool) -> _Course:
    if unchanged or rng.random() < _STEADY:
        return _Course(finding, 1.0, 1.0)
    smaller = rng.uniform(0.4, 0.65)
    # Appears, vanishes, grows, shrinks.
    first, second = ((0.0, 1.0), (1.0, 0.0), (smaller, 1.0), (1.0, smaller))[rng.integers(4)]
    return _Course(finding, first, second)


def _with_findings(chest: Plane, findings: Sequence[tuple[Finding, float]]) -> Plane:
    plane = chest.copy()
    for finding, grown in findings:
        add_finding(plane, finding, grown, finding.strength)
    return plane


def _changes(courses: Sequence[_Course], size: tuple[int, int]) -> NDArray[np.float32]:
    """(1, H, W): attenuation that came or went, 1 from that of a clear finding."""
    change = np.zeros(size, np.float32)
    for course in courses:
        if course.first != course.second:
            one = np.zeros(size, np.float32)
            add_finding(one, course.finding, course.second, course.finding.strength)
            add_finding(one, course.finding, course.first, -course.finding.strength)
            np.maximum(change, np.abs(one), out=change)
    share: NDArray[np.float32] = np.minimum(change / np.float32(_CLEAR), 1)[None]
    return share


def _labels(courses: Sequence[_Course], is_enlarged: bool) -> NDArray[np.float32]:
    labels = np.zeros(len(CHEST_LABELS), np.float32)
    labels[[course.finding.label for course in courses if course.first > 0]] = 1
    labels[CHEST_LABELS.index("enlarged_heart")] = is_enlarged
    return labels


def _move(plane: Plane, rng: np.random.Generator) -> Plane:
    """As the patient stands at the second visit: turned, nearer and shifted by very little."""
    height, width = plane.shape
    middle = ((width - 1) / 2, (height - 1) / 2)
    matrix = cv2.getRotationMatrix2D(middle, rng.uniform(-1.2, 1.2), rng.uniform(0.99, 1.01))
    matrix[:, 2] += rng.uniform(-0.01, 0.01, 2) * (width, height)
    moved: Plane = cv2.warpAffine(
        plane, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return moved


def _expose(attenuation: Plane, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Film response and noise: attenuation to gray values."""
    value = cv2.exp(attenuation * np.float32(-rng.uniform(0.95, 1.25)))
    dark, bright = rng.uniform(0.02, 0.06), rng.uniform(0.9, 1.0)
    np.subtract(1, value, out=value)
    value *= np.float32(bright - dark) / np.float32(0.85)
    value += np.float32(dark)
    raw = np.frombuffer(rng.bytes(2 * value.size), np.uint8).reshape(2, *value.shape)
    # The sum of two bytes is a triangle of deviation 256 / sqrt(6).
    scale = rng.uniform(0.008, 0.02) * np.sqrt(6) / 256
    value += cv2.addWeighted(raw[0], scale, raw[1], scale, -255 * scale, dtype=cv2.CV_32F)
    np.maximum(value, 0, out=value)
    image: NDArray[np.uint8] = cv2.convertScaleAbs(value, alpha=255)  # rounds and saturates
    return image
