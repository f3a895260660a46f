"""What made the landmarks of a report: bundle, engine, device, and what the accuracy gate said."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mahtrt import __version__
from mahtrt.bundle.bundle import read_bundle
from mahtrt.names import text_of_path
from mahtrt.runtime.session import Session
from mahtrt.runtime.verdict import EngineVerdict


@dataclass(frozen=True, slots=True)
class Algorithm:
    """What made the landmarks.

    Attributes:
        name: The bundle's name.
        version: The version of mahtrt.
        bundle_digest: SHA-256 of the bundle's manifest, which holds that of every other file.
        engine: The engine's name.
        device: What it ran on.
        verdict: What the accuracy gate said about the engine, one short sentence.
    """

    name: str
    version: str
    bundle_digest: str
    engine: str
    device: str
    verdict: str


def algorithm_of(session: Session, bundle: Path) -> Algorithm:
    """What a report says about the engine that a session runs.

    Args:
        session: The opened engine.
        bundle: The bundle that it was opened from.

    Raises:
        DataError, IntegrityError: The bundle is gone, or is none.
    """
    opened = read_bundle(bundle, verify=False)
    return Algorithm(
        name=text_of_path(Path(bundle).resolve().name),
        version=__version__,
        bundle_digest=opened.manifest_sha256,
        engine=session.name,
        device=session.device,
        verdict=_sentence(session.verdict),
    )


def _sentence(verdict: EngineVerdict | None) -> str:
    if verdict is None:
        return "The engine was not judged by an accuracy gate."
    if not verdict.passed:
        reasons = "; ".join(verdict.reasons) or "no reason was kept"
        return f"The engine did not pass its accuracy gate: {reasons}."
    if verdict.mean_px is None:
        return "The engine passed its accuracy gate."
    images = f" over {verdict.images} images" if verdict.images else ""
    return (
        "The engine passed its accuracy gate: landmarks lie on average "
        f"{verdict.mean_px:.3f} network pixels from {verdict.reference or 'the reference'}{images}."
    )
