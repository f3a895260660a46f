"""What a bundle's accuracy gate said about one of its engines, as results carry it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mahtrt.bundle.manifest import EngineRecord, Manifest

_JUDGED = ("passed", "reasons", "measured_on")


def verdict_of(manifest: Manifest, record: EngineRecord) -> dict[str, Any]:
    """The gate's verdict on an engine, with the numbers it rests on.

    Returns:
        Plain data: ``passed``, ``reasons``, ``measured_on`` (``engine``, or what stood in for it
        where it was built), ``batch``, ``reference``, ``images``, ``mean_px`` and
        ``worst_landmark`` (``name`` and ``mean_px``), displacement in pixels of the network's
        input; None where the bundle does not say. {} for an engine that was not judged.
    """
    judged = manifest.gate.get("engines", {}).get(record.name)
    if not judged:
        return {}
    measured = {name: record.accuracy.get(name) for name in ("images", "mean_px")}
    return {
        **{name: judged.get(name) for name in _JUDGED},
        "batch": record.batch,
        "reference": manifest.gate.get("reference"),
        **measured,
        "worst_landmark": _worst_landmark(record.accuracy.get("per_landmark", ())),
    }


def notes_of(engine: str, verdict: Mapping[str, Any]) -> tuple[str, ...]:
    """What a user of the engine should know of its verdict, one sentence each."""
    if not verdict:
        return ()
    notes = []
    if not verdict.get("passed"):
        reasons = "; ".join(verdict.get("reasons") or ()) or "no reason was kept"
        notes.append(f"{engine} did not pass its accuracy gate: {reasons}.")
    measured_on = verdict.get("measured_on")
    if measured_on not in (None, "engine"):
        notes.append(
            f"The accuracy of {engine} was measured on {measured_on}, not on the engine itself."
        )
    return tuple(notes)


def _worst_landmark(rows: Any) -> dict[str, Any] | None:
    # The manifest has null for a mean that is not finite: worse than any number.
    if not rows:
        return None
    worst = max(rows, key=lambda r: float("inf") if r["mean_px"] is None else r["mean_px"])
    return {"name": worst["name"], "mean_px": worst["mean_px"]}
