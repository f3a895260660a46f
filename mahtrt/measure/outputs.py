"""Outputs that are no landmarks, compared image by image: maps, logits and visibility.

Maps are large, so that they are compared as they come and not kept; logits and visibility are a
few numbers per image, and are compared once all of them are there.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mahtrt.bundle.output_records import LogitsRecord, VisibilityRecord
from mahtrt.bundle.records import AccuracyRecord
from mahtrt.data.map_frames import network_map_from_image
from mahtrt.data.preprocess import Placement
from mahtrt.data.sample import Sample
from mahtrt.errors import DataError
from mahtrt.measure.judged import JUDGED, OutputSet, judged_outputs
from mahtrt.measure.logits import measure_logits
from mahtrt.measure.maps import MapTally
from mahtrt.measure.visibility import measure_visibility
from mahtrt.spec import ModelSpec, OutputKind, OutputSpec


@dataclass(slots=True)
class _Table:
    """Logits or visibility so far: rows of the candidate, of the reference and of the truth."""

    ours: list[NDArray[np.floating]] = field(default_factory=list)
    theirs: list[NDArray[np.floating]] = field(default_factory=list)
    truth: list[NDArray[np.floating]] = field(default_factory=list)

    def joined(self) -> tuple[NDArray[np.floating], ...]:
        return tuple(np.concatenate(each) for each in (self.ours, self.theirs, self.truth))


class OutputTally:
    """The comparison of one engine's outputs with the reference's.

    Args:
        spec: Spec of the network; its :func:`judged_outputs` are compared.
        only: Names of those to compare; all where None.
    """

    def __init__(self, spec: ModelSpec, only: Collection[str] | None = None) -> None:
        judged = judged_outputs(spec)
        self._outputs = tuple(o for o in judged if only is None or o.name in only)
        self._maps = {o.name: MapTally(o.name) for o in self._outputs if o.kind == "map"}
        self._tables = {o.name: _Table() for o in self._outputs if o.kind != "map"}

    def add(
        self,
        candidate: OutputSet,
        reference: OutputSet,
        truth: OutputSet | None = None,
        images: Sequence[str] = (),
    ) -> None:
        """Compare some images.

        Args:
            candidate, reference: Every judged output of the same images.
            truth: What is annotated of them (:func:`truth_of`), NaN where it is not known.
            images: Their names; without, they are numbered.

        Raises:
            ValueError: Shapes do not fit each other.
        """
        truth = truth or {}
        for name, tally in self._maps.items():
            known = truth.get(name)
            for i, (ours, theirs) in enumerate(zip(candidate[name], reference[name], strict=True)):
                called = images[i] if images else str(i)
                tally.add(ours, theirs, None if known is None else known[i], called)
        for name, table in self._tables.items():
            unknown = np.full(reference[name].shape, np.nan)
            table.ours.append(candidate[name])
            table.theirs.append(reference[name])
            table.truth.append(truth.get(name, unknown))

    def merge(self, later: OutputTally) -> None:
        """Add what was compared of the images that follow."""
        for name, tally in self._maps.items():
            tally.merge(later._maps[name])
        for name, table in self._tables.items():
            other = later._tables[name]
            table.ours += other.ours
            table.theirs += other.theirs
            table.truth += other.truth

    def into(self, found: AccuracyRecord) -> AccuracyRecord:
        """A record with what was compared, which is of at least one image."""
        by_kind: dict[str, list[OutputSpec]] = {kind: [] for kind in JUDGED}
        for output in self._outputs:
            by_kind[output.kind].append(output)
        return replace(
            found,
            maps=tuple(self._maps[o.name].record() for o in by_kind["map"]),
            logits=tuple(self._logits(o) for o in by_kind["logits"]),
            visibility=tuple(self._visibility(o) for o in by_kind["visibility"]),
        )

    def _logits(self, output: OutputSpec) -> LogitsRecord:
        joined = self._tables[output.name].joined()
        return measure_logits(output.name, output.labels, output.threshold, *joined)

    def _visibility(self, output: OutputSpec) -> VisibilityRecord:
        joined = self._tables[output.name].joined()
        return measure_visibility(output.name, output.threshold, *joined)


def truth_of(
    samples: Sequence[Sample],
    placements: Sequence[Placement],
    spec: ModelSpec,
    reference: OutputSet,
    *,
    source: str,
) -> dict[str, NDArray[np.float64]]:
    """What a data set knows of the judged outputs, in the form of the reference's.

    The first output of a kind is the one that annotations are of.

    Args:
        placements: Where the first image of each sample lies on the network's first input.
        reference: The outputs of the reference for these samples.
        source: The data set, for messages.

    Raises:
        DataError: Annotations of another number of channels, labels or landmarks.
    """
    found = {}
    for kind in JUDGED:
        output = spec.output(kind)
        if output is None or output.name not in reference:
            continue
        annotated = [_annotated(sample, output) for sample in samples]
        if all(known is None for known in annotated):
            continue
        shape = reference[output.name].shape[1:]
        rows = np.full((len(samples), *shape), np.nan)
        for row, known, sample, placement in zip(rows, annotated, samples, placements, strict=True):
            if known is None:
                continue
            if len(known) != len(row):
                what = f"{source}: {sample.name}"
                raise _misfit(what, kind, len(known), len(row))
            row[...] = (
                network_map_from_image(known, placement, spec.input.size, row.shape[1:])
                if kind == "map"
                else known
            )
        found[output.name] = rows
    return found


def _annotated(sample: Sample, output: OutputSpec) -> NDArray[np.float32] | None:
    """What a case says of an output: (C, H, W) in the image's pixels, (L,) or (K,)."""
    if output.kind == "map":
        return sample.target_map
    return sample.labels_of(output.labels) if output.kind == "logits" else sample.visible


_NAMES = {"map": "channels of a map", "logits": "labels", "visibility": "points"}


def _misfit(subject: str, kind: OutputKind, got: int, wanted: int) -> DataError:
    return DataError(
        subject,
        got=f"{got} annotated {_NAMES[kind]}",
        expected=f"the network's {wanted}",
        fix="Use images without these annotations, or those that the network was trained for.",
    )
