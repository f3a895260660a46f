"""Under which conditions a bench ran, and what a reader of its numbers has to know."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from mahtrt.benchmarks.options import TIMED_IMAGES, CompareOptions
from mahtrt.benchmarks.report import ReportFacts, Row
from mahtrt.machine import usable_cores

BUSY_LOAD = 0.5  # of the usable cores, over the minute before

Load = tuple[float, float, float]


def describe_conditions(
    rows: Sequence[Row],
    options: CompareOptions,
    *,
    data: str,
    images: int,
    facts: ReportFacts,
    load: Load | None,
) -> dict[str, Any]:
    """The ``conditions`` of the report.

    Args:
        data: The source of the images.
        images: How many the accuracy rests on.
        facts: What the caller knows of the reference.
        load: Before the bench began.
    """
    batches = sorted({row.batch for row in rows})
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "reference": facts.reference,
        "data": data,
        "images": images,
        "timed_images": min(images, TIMED_IMAGES),
        "batch": batches[0] if len(batches) == 1 else batches,
        "threads": _common_threads(rows),
        "torch": [dict(each) for each in facts.torch],
        "rounds": rows[0].timings.runs if rows[0].timings else 0,
        "warmup_rounds": options.warmup,
        "interleaved": True,
        "waits_until_idle": options.rest is None,
        "copies_included": True,
        "engine_outputs": "all",
        "seed": options.seed,
        "load_average": None if load is None else list(load),
    }


def find_warnings(rows: Sequence[Row], *, load: Load | None) -> list[str]:
    """Reasons to read the rows with care, one sentence each."""
    found, cores = [], usable_cores()
    if load and load[0] > BUSY_LOAD * cores:
        found.append(f"the machine was busy before the bench: load {load[0]} on {cores} cores")
    if len({row.batch for row in rows}) > 1:
        found.append("batch sizes differ: compare images/s and ratios, not times per call")
    untimed = {row.name: row.stand_in for row in rows if row.stand_in and not row.is_reference}
    found += [
        f"{name} cannot run on this machine: its accuracy is that of {stand_in}, and it has no "
        "latency"
        for name, stand_in in untimed.items()
    ]
    timed = [(f"{row.name} {row.scope}", row.timings) for row in rows if row.timings is not None]
    by_text: dict[str, list[str]] = {}
    for name, timings in timed:
        for warning in timings.warnings():
            by_text.setdefault(warning, []).append(name)
    # What is true of every row is said once.
    return found + [
        text if len(names) == len(timed) else f"{', '.join(names)}: {text}"
        for text, names in by_text.items()
    ]


def _common_threads(rows: Sequence[Row]) -> int | None:
    """Threads of the engines, None where they differ or one does not say."""
    counts = {row.threads for row in rows if not row.is_reference}
    return counts.pop() if len(counts) == 1 else None
