"""Under which conditions a bench ran, and what a reader of its numbers has to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mahtrt.benchmarks.int8_gain import gains_of_int8
from mahtrt.benchmarks.options import TIMED_IMAGES, CompareOptions
from mahtrt.benchmarks.report import ReportFacts, Row
from mahtrt.cuda.state import GpuState, read_gpu
from mahtrt.machine import usable_cores
from mahtrt.measure.timing import TimingWarning
from mahtrt.schema import plain

BUSY_LOAD = 0.5  # of the usable cores, over the minute before
MOST_ROWS_NAMED = 3  # in one warning

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
        "copies_included": all(row.timed_by == "wall" for row in rows),
        "rotated_images": min(images, TIMED_IMAGES),
        "peers": dict(facts.peers),
        "engine_outputs": "all",
        "seed": options.seed,
        "load_average": None if load is None else list(load),
    }


def find_warnings(
    rows: Sequence[Row], *, load: Load | None, clocks: GpuClocks | None = None
) -> list[str]:
    """Reasons to read the rows with care, one sentence each."""
    found, cores = [*gains_of_int8(rows).values()], usable_cores()
    found += clocks.warnings() if clocks else []
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
    by_kind: dict[str, dict[str, TimingWarning]] = {}
    for name, timings in timed:
        for warning in timings.warnings():
            by_kind.setdefault(warning.kind, {})[name] = warning
    return found + [_told_together(each, len(timed)) for each in by_kind.values()]


def _told_together(warnings: Mapping[str, TimingWarning], rows: int) -> str:
    """One sentence of warnings of one kind: what is true of every row is said once.

    Args:
        warnings: Each with the row that it is about.
        rows: How many rows there are.
    """
    worst = max(warnings.values(), key=lambda each: each.size)
    text = worst.of_several or worst.text if len(warnings) > 1 else worst.text
    if len(warnings) == rows:
        return text
    if len(warnings) > MOST_ROWS_NAMED:
        return f"{len(warnings)} of {rows} rows: {text}"
    return f"{', '.join(warnings)}: {text}"


@dataclass(frozen=True, slots=True)
class GpuClocks:
    """What the GPU was like before and right after the timed rounds; None is not known."""

    before: GpuState | None
    after: GpuState | None = None

    def ended(self) -> GpuClocks:
        """The same, with what the GPU is like now."""
        return GpuClocks(self.before, read_gpu())

    def warnings(self) -> list[str]:
        """Reasons not to trust times on the GPU, one sentence each."""
        if self.before is None or self.after is None:
            return ["the GPU's clocks are not known: neither NVML nor nvidia-smi answers"]
        reasons = dict.fromkeys((*self.before.throttled_by, *self.after.throttled_by))
        if not reasons:
            return []
        return [f"the GPU was slowed by {', '.join(reasons)}: {self.after}"]


def watch_gpu(is_used: bool) -> GpuClocks | None:
    """What the GPU is like before the timed rounds; None where no GPU computes."""
    return GpuClocks(read_gpu()) if is_used else None


def conditions_of_gpu(
    clocks: GpuClocks | None, facts: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    """What to say beside the times of a GPU.

    Args:
        facts: How each row's network runs, by its name.
    """
    runs = {name: dict(each) for name, each in facts.items() if each}
    told: dict[str, Any] = {"runs": runs} if runs else {}
    return told if clocks is None else told | {"gpu": plain(clocks)}


def _common_threads(rows: Sequence[Row]) -> int | None:
    """Threads of the engines, None where they differ or one does not say."""
    counts = {row.threads for row in rows if row.is_engine}
    return counts.pop() if len(counts) == 1 else None
