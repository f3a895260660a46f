"""What a bundle's accuracy gate said about one of its engines, as results carry it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mahtrt.bundle.manifest import EngineRecord, Manifest


@dataclass(frozen=True, slots=True)
class WorstLandmark:
    """The landmark that moved most; a mean that is not finite is None."""

    name: str
    mean_px: float | None


@dataclass(frozen=True, slots=True)
class EngineVerdict:
    """The accuracy gate's verdict on an engine, with the numbers it rests on.

    Displacements are in pixels of the network's input; None where the bundle does not say, or
    where they are not finite.

    Attributes:
        reasons: Every reason why it did not pass.
        measured_on: ``engine``, or what stood in for it where it was built.
        batch: Images per inference.
        reference: What the engine was compared with.
        images: Number of images.
        mean_px: Mean displacement over all landmarks; None too for a network without any.
    """

    passed: bool
    reasons: tuple[str, ...]
    measured_on: str
    batch: int
    reference: str | None
    images: int | None
    mean_px: float | None
    worst_landmark: WorstLandmark | None


def verdict_of(manifest: Manifest, record: EngineRecord) -> EngineVerdict | None:
    """The gate's verdict on an engine; None for an engine that was not judged."""
    if record.verdict is None:
        return None
    found = record.accuracy
    worst = found.worst_landmark if found else None
    return EngineVerdict(
        passed=record.verdict.passed,
        reasons=record.verdict.reasons,
        measured_on=record.verdict.measured_on,
        batch=record.batch,
        reference=manifest.gate.reference if manifest.gate else None,
        images=found.images if found else None,
        mean_px=_finite(found.mean_px) if found and found.per_landmark else None,
        worst_landmark=WorstLandmark(worst.name, _finite(worst.mean_px)) if worst else None,
    )


def _finite(moved_px: float | None) -> float | None:
    return moved_px if moved_px is not None and math.isfinite(moved_px) else None


def notes_of(engine: str, verdict: EngineVerdict | None) -> tuple[str, ...]:
    """What a user of the engine should know of its verdict, one sentence each."""
    if verdict is None:
        return ()
    notes = []
    if not verdict.passed:
        reasons = "; ".join(verdict.reasons) or "no reason was kept"
        notes.append(f"{engine} did not pass its accuracy gate: {reasons}.")
    if verdict.measured_on != "engine":
        notes.append(
            f"The accuracy of {engine} was measured on {verdict.measured_on}, "
            "not on the engine itself."
        )
    return tuple(notes)
