"""The verb ``verify``: is a bundle whole, and do its engines give here what they should?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from mahtrt.bundle.bundle import Bundle, read_bundle
from mahtrt.bundle.golden import GoldenVector, read_golden
from mahtrt.bundle.golden_outputs import at_places
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.bundle.records import AccuracyRecord
from mahtrt.data.preprocess import preprocess
from mahtrt.errors import GateError
from mahtrt.measure.accuracy import Annotations, LandmarkSet, measure
from mahtrt.measure.limits import Limits
from mahtrt.measure.outputs import OutputTally
from mahtrt.progress import StageProgress, silent
from mahtrt.runtime.decode import landmark_names
from mahtrt.runtime.landmarks import Landmarks, output_set
from mahtrt.runtime.session import open_engine
from mahtrt.spec import ModelSpec
from mahtrt.targets.backend import compile_here
from mahtrt.targets.table import find_target

if TYPE_CHECKING:
    from mahtrt.bundle.signature import Trust


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """What to verify.

    Attributes:
        bundle: The ``.mahtrt`` folder.
        trust: Whose signature it has to have; None asks for none.
    """

    bundle: Path
    trust: Trust | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """Golden images through one engine.

    Attributes:
        absent: Why the engine cannot run here, "" where it ran.
        mean_px: Mean displacement of all landmarks, in network pixels; None without any.
        worst_px: Mean displacement of the landmark that moved most, likewise.
        accuracy: All that was compared; None where the engine did not run.
    """

    engine: str
    absent: str = ""
    mean_px: float | None = None
    worst_px: float | None = None
    accuracy: AccuracyRecord | None = None


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """A bundle that is whole.

    Attributes:
        files: How many files were hashed.
        signature: Whether there is a signature, and whether it was held against a trusted key.
        replays: One per engine; none where the bundle keeps no golden images.
    """

    files: int
    replays: tuple[Replay, ...]
    signature: Literal["none", "not checked", "trusted"] = "none"


def verify(options: VerifyOptions, progress: StageProgress = silent) -> VerifyResult:
    """Hash every file, then run the golden images through every engine that can run here.

    Raises:
        IntegrityError: A file is missing, changed or extra, or the bundle has no signature by whom
            the caller trusts.
        GateError: An engine is further from the golden vectors than the build's gate allows.
    """
    progress("hashing", 0, 0)
    bundle = read_bundle(options.bundle, trust=options.trust)
    manifest = bundle.manifest
    engines = () if manifest.golden is None else manifest.engines
    replays = tuple(_replay(bundle, record, progress) for record in engines)
    signature: Literal["none", "not checked", "trusted"] = (
        "trusted" if options.trust else "not checked" if bundle.is_signed else "none"
    )
    return VerifyResult(len(manifest.files), replays, signature)


def _replay(bundle: Bundle, record: EngineRecord, progress: StageProgress) -> Replay:
    finding = find_target(record.target).finding()
    if not finding.able:
        return Replay(record.name, finding.detail)
    progress(f"replaying {record.name}", 0, 0)
    found = _accuracy(bundle, record.name)
    limits = Limits.of_gate(bundle.manifest.gate)
    over = limits.for_replay(found.mean_mm is not None).over(found, record.precision)
    if over:
        raise GateError(
            f"{record.name} on golden images",
            got="; ".join(over),
            expected="what the build's gate allows",
            fix=compile_here(record.target),
        )
    return Replay(record.name, "", found.mean_px, found.worst_landmark_mean_px, found)


def _accuracy(bundle: Bundle, engine: str) -> AccuracyRecord:
    """How far an engine is from what was recorded of the golden images."""
    vectors, spec = read_golden(bundle), bundle.spec
    placements = [preprocess(vector.image, spec.input)[1] for vector in vectors]

    def landmarks(points_px: Sequence[NDArray[np.float32]]) -> LandmarkSet:
        pairs = zip(placements, points_px, strict=True)
        network = [placement.network_from_image(points) for placement, points in pairs]
        return LandmarkSet(np.stack(network), np.stack(points_px))

    with open_engine(bundle, engine=engine) as session:
        found = [session.run(vector.image, *vector.others) for vector in vectors]
    wanted = landmarks([vector.points_px for vector in vectors])
    # Their landmarks are the reference's own, not the truth.
    truth = np.full_like(wanted.image_px, np.nan)
    spacing = np.array([vector.spacing_mm or (np.nan, np.nan) for vector in vectors])
    ours = landmarks([each.points for each in found])
    accuracy = measure(ours, wanted, landmark_names(spec), Annotations(truth, spacing))
    return _with_outputs(accuracy, found, vectors, spec)


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
