"""Golden vectors through an engine: how far it is from what the reference gave, and may be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mahtrt.bundle.golden import GoldenVector
from mahtrt.bundle.golden_outputs import at_places
from mahtrt.bundle.manifest import EngineRecord, Manifest
from mahtrt.bundle.records import AccuracyRecord
from mahtrt.data.preprocess import fit_of
from mahtrt.measure.accuracy import Annotations, LandmarkSet, measure
from mahtrt.measure.limits import Limits
from mahtrt.measure.outputs import OutputTally
from mahtrt.runtime.decode import landmark_names
from mahtrt.runtime.landmarks import Landmarks, output_set
from mahtrt.spec import ModelSpec


class Runs(Protocol):
    """What a replay needs of a session."""

    @property
    def spec(self) -> ModelSpec: ...
    def run(self, *images: NDArray[Any]) -> Landmarks: ...


def replay(session: Runs, vectors: Sequence[GoldenVector]) -> AccuracyRecord:
    """Run golden vectors, at least one, and compare with what they keep.

    Raises:
        IntegrityError: An output was kept at other places than the engine gives.
    """
    spec = session.spec
    placements = [fit_of(vector.image.shape, spec.input).placement for vector in vectors]

    def landmarks(points_px: Sequence[NDArray[np.float32]]) -> LandmarkSet:
        pairs = zip(placements, points_px, strict=True)
        network = [placement.network_from_image(points) for placement, points in pairs]
        return LandmarkSet(np.stack(network), np.stack(points_px))

    found = [session.run(vector.image, *vector.others) for vector in vectors]
    wanted = landmarks([vector.points_px for vector in vectors])
    # Their landmarks are the reference's own, not the truth.
    truth = np.full_like(wanted.image_px, np.nan)
    spacing = np.array([vector.spacing_mm or (np.nan, np.nan) for vector in vectors])
    ours = landmarks([each.points for each in found])
    accuracy = measure(ours, wanted, landmark_names(spec), Annotations(truth, spacing))
    return _with_outputs(accuracy, found, vectors, spec)


def replay_limits(manifest: Manifest, has_length: bool, engine: EngineRecord) -> Limits:
    """What an engine is held to on the golden vectors of its bundle.

    The gate's limits on means hold over many images, and over few an engine that passed may be
    beyond them. So what it gave there when it was built counts too (:meth:`Limits.allowing`); of
    one that did not pass it does not.

    Args:
        has_length: Whether any of the vectors has a spacing.
    """
    limits = Limits.of_gate(manifest.gate).for_replay(has_length)
    if engine.golden is not None and engine.verdict is not None and engine.verdict.passed:
        return limits.allowing(engine.golden, engine.precision)
    return limits


def _with_outputs(
    accuracy: AccuracyRecord,
    found: Sequence[Landmarks],
    vectors: Sequence[GoldenVector],
    spec: ModelSpec,
) -> AccuracyRecord:
    """Add maps, logits and visibility, as far as they were recorded."""
    names = [name for name in vectors[0].outputs if all(name in v.outputs for v in vectors)]
    tally = OutputTally(spec, names)
    for each, vector in zip(found, vectors, strict=True):
        kept = {name: vector.outputs[name] for name in names}
        ours = output_set([each], spec, names)
        theirs = {name: value.values[None] for name, value in kept.items()}
        same = {n: at_places(ours[n], kept[n].step, theirs[n], n) for n in names}
        tally.add(same, theirs, images=[vector.name])
    return tally.into(accuracy)
