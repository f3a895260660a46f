"""The evaluation images as a bench needs them: prepared, in batches, and decoded again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mahtrt.bundle.records import AccuracyRecord
from mahtrt.data.feed import Feed, batches, images_of_case, prepare
from mahtrt.data.preprocess import Placement
from mahtrt.data.sample import Dataset
from mahtrt.data.subset import spread_out
from mahtrt.measure.accuracy import Annotations, LandmarkSet, measure
from mahtrt.measure.judged import OutputSet
from mahtrt.measure.outputs import OutputTally
from mahtrt.runtime.decode import decode_batches, landmark_names
from mahtrt.spec import ModelSpec


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a network found in all evaluation images.

    Attributes:
        others: Maps, logits and visibility, by name of the output, N first.
    """

    landmarks: LandmarkSet
    others: OutputSet


class EvaluationImages:
    """Evaluation images, prepared once.

    Attributes:
        annotations: What the data set knows about them.
    """

    def __init__(self, dataset: Dataset, spec: ModelSpec, limit: int) -> None:
        self.spec = spec
        samples = list(spread_out(dataset, limit))
        prepared = [
            prepare(images_of_case(sample.images, spec, sample.name), spec) for sample in samples
        ]
        self.feeds: list[Feed] = [feed for feed, _ in prepared]
        self.placements: list[Placement] = [placement for _, placement in prepared]
        landmarks = len(landmark_names(spec))
        points = np.full((len(samples), landmarks, 2), np.nan)
        spacing = np.full((len(samples), 2), np.nan)
        for i, sample in enumerate(samples):
            if sample.points_px is not None and len(sample.points_px) == landmarks:
                points[i] = sample.points_px
            if sample.spacing_mm is not None:
                spacing[i] = sample.spacing_mm
        self.annotations = Annotations(points, spacing)

    def batches(self, batch: int) -> list[Feed]:
        """The cases, each input (B, C, H, W); the last batch is filled up with its own."""
        return [feed for feed, _ in batches(self.feeds, batch)]

    def decode(self, outputs: Sequence[Mapping[str, NDArray[np.float32]]]) -> Found:
        """What the network found in all images, from the outputs of :meth:`batches`."""
        decoded = decode_batches(outputs, len(self.feeds), self.spec)
        pairs = zip(self.placements, decoded.points_px, strict=True)
        image = np.stack([placement.image_from_network(points) for placement, points in pairs])
        cell_px = self.spec.heatmap_cell_px
        landmarks = LandmarkSet(decoded.points_px, image, decoded.spread_px, cell_px)
        return Found(landmarks, decoded.others)

    def measure(self, candidate: Found, reference: Found) -> AccuracyRecord:
        """How far what was found is from what the reference found."""
        ours, theirs = candidate.landmarks, reference.landmarks
        names = landmark_names(self.spec)
        tally = OutputTally(self.spec)
        tally.add(candidate.others, reference.others)
        return tally.into(measure(ours, theirs, names, self.annotations))
