"""What the words of a bench's tables mean, and what its verdict rests on: ``--explain``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mahtrt.verbs.measuring_text import measuring_legend
from mahtrt.verbs.output_text import legend

if TYPE_CHECKING:
    from mahtrt.benchmarks.report import BenchReport, Row
    from mahtrt.measure.limits import Limits

VERDICT_LEGEND = (
    "PASS: the accuracy of every engine is within its limits (--budget-px and the options beside "
    "it), and the p99 of the judged engine's end_to_end is at most --latency-budget-ms. Exit code "
    "3 says that an accuracy is not, 4 that the latency is not.",
)
LATENCY_LEGEND = (
    "scope: engine is the prepared tensor to the network's outputs; end_to_end is an image in "
    "memory to the result in that image's pixels.",
    "batch: images per call.",
    "p50, p90, p95, p99, max: milliseconds per call; p99 is the time that 99 of 100 calls are "
    "within. The calls of all rows are interleaved, round by round.",
    "runs: number of timed calls.",
    "images/s: images in a second, from the mean time.",
    "vs ref: how many times as fast as the reference, per image; the median of the ratios of each "
    "round.",
)
DEVICE_LEGEND = "timed_by device (JSON): engine, between two events of the GPU, without copies."
CHANGE_LEGEND = (
    "change since: of the time relative to the reference, with its 95% interval; better or worse "
    "only beyond --tolerance, and where the interval does not hold zero.",
)
PEER_LEGEND = "peer: what else runs the network; timed and compared, and judged by nobody."
GATE_LEGEND = "gate: whether all that an engine gives, in all its tables, is within its limits."
LANDMARK_LEGEND = (
    "moved px, max: mean and largest distance to the reference's landmarks, in pixels of the "
    "network's input.",
    "worst landmark: the one that moved most on average, and how far, in the same pixels.",
    "MRE: mean distance to the annotations (mean radial error), in mm, or in image pixels where "
    "the spacing is not known.",
    "change: the engine's MRE minus the reference's, with its 95% interval over images (from 8 "
    "on).",
    "SDR 2mm: share of the annotated points that are found within 2 mm.",
)


def explanations(report: BenchReport, limits: Limits | None) -> Iterator[str]:
    """A paragraph for each column that the report has, and for what was judged.

    Args:
        limits: What engines were held to, where that is known.
    """
    rows = [row for row in report.rows if row.scope == "engine"]
    yield from VERDICT_LEGEND
    yield from _judgements(report, rows, limits)
    yield from LATENCY_LEGEND
    if any(row.timed_by == "device" for row in rows):
        yield DEVICE_LEGEND
    if any(row.is_peer for row in rows) or report.failed_peers:
        yield PEER_LEGEND
    if rows[0].accuracy.per_landmark:
        yield from LANDMARK_LEGEND
    yield from legend(rows)
    yield GATE_LEGEND
    yield from measuring_legend(report.measures)
    if report.changes:
        yield from CHANGE_LEGEND


def _judgements(report: BenchReport, rows: Sequence[Row], limits: Limits | None) -> Iterator[str]:
    """What was judged of each engine, and on what."""
    images = report.conditions.get("images")
    over = f", over {images} images" if images else ""
    for row in rows:
        if row.gate is None:
            continue
        word = "pass" if row.gate.passed else "FAIL"
        graph = f", measured on {row.stand_in}" if row.stand_in else ""
        told = [*(_held(row, limits) if limits else ()), *row.gate.reasons]
        yield f"{row.name}: {word}{over}{graph}{': ' if told else ''}{'; '.join(told)}."
    if report.latency_budget_ms is not None:
        row = report.judged_row
        default = "the bundle's default engine" if row.is_default else "the first engine timed"
        word = "pass" if report.latency_pass else "FAIL"
        yield (
            f"{row.name}, {default}: {word}: end_to_end p99 {report.judged_p99_ms:.4g} ms, at "
            f"most {report.latency_budget_ms:g} ms."
        )


def _held(row: Row, limits: Limits) -> Iterator[str]:
    """The numbers of an engine that are within their limits, beside these."""
    for held in limits.held(row.accuracy, row.precision):
        if held.passed and held.value is not None and held.limit:  # NaN is not worth a word
            unit = f" {held.unit}" if held.unit else ""
            bound = "at least" if held.is_least else "at most"
            yield f"{held.what} {held.value:.3g}{unit}, {bound} {held.limit:g}{unit}"
