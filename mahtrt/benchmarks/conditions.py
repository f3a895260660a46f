"""Under which conditions a bench ran, and what a reader of its numbers has to know."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from mahtrt.benchmarks.options import TIMED_IMAGES, CompareOptions
from mahtrt.benchmarks.report import Row
from mahtrt.machine import usable_cores

BUSY_LOAD = 0.5  # of the usable cores, over the minute before

Load = tuple[float, float, float]


def describe_conditions(
    rows: Sequence[Row],
    options: CompareOptions,
    *,
    data: str,
    images: int,
    reference: str,
    load: Load | None,
) -> dict[str, Any]:
    """The ``conditions`` of the report.

    Args:
        data: The source of the images.
        images: How many the accuracy rests on.
        reference: What the reference is.
        load: Before the bench began.
    """
    batches = sorted({row.batch for row in rows})
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "reference": reference,
        "data": data,
        "images": images,
        "timed_images": min(images, TIMED_IMAGES),
        "batch": batches[0] if len(batches) == 1 else batches,
        "threads": options.threads or usable_cores(),
        "torch_threads": _torch_threads(),
        "rounds": rows[0].timings.runs if rows[0].timings else 0,
        "warmup_rounds": options.warmup,
        "interleaved": True,
        "waits_until_idle": options.rest is None,
        "copies_included": True,
        "engine_outputs": "all",
        "seed": options.seed,
        "load_average": None if load is None else list(load),
    }


def find_warnings(rows: Sequence[Row], *, threads: int | None, load: Load | None) -> list[str]:
    """Reasons to read the rows with care, one sentence each."""
    found, cores, torch_threads = [], usable_cores(), _torch_threads()
    if load and load[0] > BUSY_LOAD * cores:
        found.append(f"the machine was busy before the bench: load {load[0]} on {cores} cores")
    has_torch = any(row.backend == "pytorch" for row in rows)
    if has_torch and torch_threads not in (None, threads or cores):
        found.append(f"PyTorch ran on {torch_threads} threads, the engines on {threads or cores}")
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


def _torch_threads() -> int | None:
    torch = sys.modules.get("torch")  # never imported for this
    return None if torch is None else int(torch.get_num_threads())
