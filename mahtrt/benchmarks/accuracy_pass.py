"""Accuracy of open sessions beside a reference, over images that come a few at a time.

Landmarks are kept until all are there; maps are compared as they come, since those of all images
would not fit in memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mahtrt.benchmarks.peer_failures import reason_of
from mahtrt.bundle.golden_outputs import at_places
from mahtrt.bundle.records import AccuracyRecord
from mahtrt.data.preprocess import Placement, fit_of
from mahtrt.errors import DataError
from mahtrt.measure.accuracy import Annotations, LandmarkSet, measure
from mahtrt.measure.agreement import Agreement, agreement
from mahtrt.measure.judged import OutputSet
from mahtrt.measure.map_cases import WorstMaps
from mahtrt.measure.outputs import OutputTally, truth_of
from mahtrt.measure.quantities import Selection
from mahtrt.runtime.decode import landmark_names
from mahtrt.runtime.landmarks import Landmarks, output_set
from mahtrt.spec import ModelSpec

if TYPE_CHECKING:
    from mahtrt.benchmarks.compare import Contender
    from mahtrt.data.sample import Sample


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """Where every contender found the landmarks of the same images, in their order.

    Attributes:
        names: The landmarks' names.
        points: Contender to its landmarks; none of a network without.
        annotations: What the data set knows of the images.
        reference: The contender that the others are compared with.
    """

    names: tuple[str, ...]
    points: Mapping[str, LandmarkSet]
    annotations: Annotations
    reference: str


@dataclass(frozen=True, slots=True, eq=False)
class AccuracyPart:
    """What was found in images that follow each other, to be put together with other parts.

    Attributes:
        points, tallies: By contender.
        truths: What is annotated of the images.
        worst_maps: As of the whole pass.
    """

    points: Mapping[str, list[LandmarkSet]]
    tallies: Mapping[str, OutputTally]
    truths: list[Annotations]
    worst_maps: WorstMaps

    @property
    def images(self) -> int:
        """How many images it is of."""
        return sum(len(each.names) for each in self.truths)


class AccuracyPass:
    """What is known so far of every contender's accuracy.

    Args:
        contenders: The sessions; the first that is a reference is what all are compared with.
        source: Name of the data set, for messages.

    Attributes:
        failures: Peers that failed, with the reason; they take no further part.
        worst_maps: The maps of the default engine that differ most from the reference's.
    """

    def __init__(self, contenders: Sequence[Contender], source: str) -> None:
        self.failures: dict[str, str] = {}
        self._reference = next(each for each in contenders if each.is_reference)
        others = [each for each in contenders if each is not self._reference]
        self._contenders, self._source = (self._reference, *others), source
        self._spec = self._reference.session.spec
        self._names = landmark_names(self._spec)
        self._points: dict[str, list[LandmarkSet]] = {each.name: [] for each in contenders}
        self._only = self._reference.recorded
        self._tallies = {each.name: OutputTally(self._spec, self._only) for each in contenders}
        self._truths: list[Annotations] = []
        maps = tuple(output.name for output in self._spec.outputs if output.kind == "map")
        self.worst_maps = WorstMaps(maps if self._only is None else ())

    def add(self, samples: Sequence[Sample]) -> None:
        """Run a few images through every session.

        Raises:
            DataError: Annotations that do not fit the network.
            IntegrityError: Recorded outputs that are not of this network.
        """
        annotations = _annotations(samples, len(self._names), self._source)
        self._truths.append(annotations)
        placements = [fit_of(sample.image.shape, self._spec.input).placement for sample in samples]
        theirs: OutputSet = {}
        truth: OutputSet = {}
        for contender in self._contenders:
            if contender.name in self.failures:
                continue
            found = self._results(contender, samples)
            if found is None:
                continue
            self._points[contender.name].append(landmark_set(found, placements, self._spec))
            ours: OutputSet = output_set(found, self._spec, self._only)
            if contender is not self._reference and self._only:
                ours = {n: at_places(ours[n], s, theirs[n], n) for n, s in self._only.items()}
            if contender is self._reference:
                theirs = ours
                truth = truth_of(samples, placements, self._spec, theirs, source=self._source)
            self._tallies[contender.name].add(ours, theirs, truth, annotations.names)
            if contender.is_default:
                self.worst_maps.add(ours, theirs, annotations.names)

    def part(self) -> AccuracyPart:
        """What was found so far, without the sessions."""
        return AccuracyPart(self._points, self._tallies, self._truths, self.worst_maps)

    def take(self, part: AccuracyPart) -> None:
        """Add what another pass of the same contenders found in the images that follow.

        Nothing is computed before all images are there, so that it does not matter which pass
        they were in.
        """
        for name, points in part.points.items():
            self._points[name] += points
            self._tallies[name].merge(part.tallies[name])
        self._truths += part.truths
        self.worst_maps.merge(part.worst_maps)

    def _results(self, contender: Contender, samples: Sequence[Sample]) -> list[Landmarks] | None:
        """What the session finds; None where it is a peer that fails, which is noted."""
        try:
            return _results(contender, samples)
        except Exception as error:
            if not contender.is_peer:
                raise
            self.failures[contender.name] = reason_of(error)
            return None

    def records(self, seed: int) -> dict[str, AccuracyRecord]:
        """Accuracy by contender, of all images.

        Args:
            seed: Seed of the bootstrap.
        """
        cohort = self.cohort()
        reference = cohort.points[cohort.reference]
        return {
            name: self._tallies[name].into(
                measure(points, reference, self._names, cohort.annotations, seed=seed)
            )
            for name, points in cohort.points.items()
        }

    def cohort(self) -> Cohort:
        """Where every contender found the landmarks of all images."""
        truth = Annotations(
            np.concatenate([part.points_px for part in self._truths]),
            np.concatenate([part.spacing_mm for part in self._truths]),
            tuple(name for part in self._truths for name in part.names),
        )
        points = {
            name: _join(parts) for name, parts in self._points.items() if name not in self.failures
        }
        return Cohort(tuple(self._names), points, truth, self._reference.name)

    def measurable(self, selection: Selection | None) -> Selection | None:
        """The quantities that the images allow: those in mm need a spacing."""
        spaced = any(np.isfinite(part.spacing_mm).all(axis=1).any() for part in self._truths)
        return selection if selection is None or spaced else selection.without_mm()

    def agreements(self, seed: int, selection: Selection | None) -> dict[str, Agreement]:
        """How each engine and peer agrees with the reference; none of a network without landmarks.

        Args:
            seed: Seed of the bootstrap.
            selection: Clinical quantities to compare, if any.
        """
        if not self._names:
            return {}
        cohort, selection = self.cohort(), self.measurable(selection)
        points, reference = cohort.points, cohort.points[cohort.reference]
        return {
            each.name: agreement(
                points[each.name],
                reference,
                self._names,
                cohort.annotations,
                selection,
                seed=seed,
            )
            for each in self._contenders
            if not each.is_reference and each.name in points
        }


def landmark_set(
    found: Sequence[Landmarks], placements: Sequence[Placement], spec: ModelSpec
) -> LandmarkSet:
    """The landmarks of a few images in both frames.

    Args:
        placements: Where each image lies on the network's first input.
    """
    points = np.stack([landmarks.points for landmarks in found])  # (n, K, 2)
    network = [p.network_from_image(each) for p, each in zip(placements, points, strict=True)]
    wide = [_spread_px(each, at) for each, at in zip(found, placements, strict=True)]
    return LandmarkSet(np.stack(network), points, np.stack(wide), spec.heatmap_cell_px)


def _results(contender: Contender, samples: Sequence[Sample]) -> list[Landmarks]:
    """What the session finds in a few images, as its users get it."""
    cases, session = [sample.images for sample in samples], contender.session
    # An engine is judged at the batch size it was built for.
    return session.run_batch(cases) if contender.batch > 1 else [session.run(*c) for c in cases]


def _spread_px(landmarks: Landmarks, placement: Placement) -> NDArray[np.float64]:
    """Spread (K,) in the network's input pixels, NaN where the network gives none."""
    # As the spread itself, the mean of the two axes: they differ where the image was stretched.
    scale = math.sqrt(placement.scale[0] * placement.scale[1])
    return np.asarray(landmarks.spread, np.float64) * scale


def _annotations(samples: Sequence[Sample], num_landmarks: int, source: str) -> Annotations:
    points = np.full((len(samples), num_landmarks, 2), np.nan)
    spacing = np.full((len(samples), 2), np.nan)
    for i, sample in enumerate(samples):
        if sample.points_px is not None and num_landmarks:
            if len(sample.points_px) != num_landmarks:
                raise DataError(
                    f"{source}: {sample.name}",
                    got=f"{len(sample.points_px)} annotated points",
                    expected=f"the network's {num_landmarks}",
                    fix="Choose them by index with --points, or use images without annotations.",
                )
            points[i] = sample.points_px
        if sample.spacing_mm is not None:
            spacing[i] = sample.spacing_mm
    return Annotations(points, spacing, tuple(sample.name for sample in samples))


def _join(parts: Sequence[LandmarkSet]) -> LandmarkSet:
    return LandmarkSet(
        np.concatenate([part.network_px for part in parts]),
        np.concatenate([part.image_px for part in parts]),
        np.concatenate([part.spread_px for part in parts if part.spread_px is not None]),
        parts[0].cell_px,
    )
