"""A bench's report as text: the verdict, the tables, the warnings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from mahtrt.bundle.records import AccuracyRecord
from mahtrt.verbs.agreement_text import agreement_tables
from mahtrt.verbs.measuring_text import measuring_tables
from mahtrt.verbs.output_text import output_tables
from mahtrt.verbs.rendering import Indented, line, paragraphs
from mahtrt.verbs.report_legend import explanations
from mahtrt.verbs.tables import Column, FittedTable, numbers
from mahtrt.verbs.verdict_text import condition_lines, verdict_lines

if TYPE_CHECKING:
    from mahtrt.benchmarks.report import BenchReport, Row
    from mahtrt.measure.limits import Limits


def report_table(
    report: BenchReport, *, explain: bool = False, limits: Limits | None = None
) -> RenderableType:
    """Verdict, latency, accuracy and warnings, for a terminal.

    Args:
        explain: Say what every column means, and what the verdict rests on.
        limits: What engines were held to, where that is known, for the explanation.
    """
    rows = [row for row in report.rows if row.scope == "engine"]
    has_landmarks = bool(rows[0].accuracy.per_landmark)
    lines: list[RenderableType] = [*verdict_lines(report), Text(), _latency_table(report.rows)]
    lines += [_failed_table(report.failed_peers)] if report.failed_peers else []
    lines += [Text(), _accuracy_table(rows)] if has_landmarks else []
    lines += output_tables(rows, _label, None if has_landmarks else _gate)
    lines += agreement_tables(report)
    lines += [Text(), _changes_table(report)] if report.changes else []
    lines += measuring_tables(report.measures)
    told = [*condition_lines(report)]
    told += [Indented(line(f"warning: {text}", "yellow"), 0, 2) for text in report.warnings]
    lines += [Text(), *told] if told else []
    if explain:
        lines.append(paragraphs(explanations(report, limits)))
    return Group(*lines)


def _latency_table(rows: Sequence[Row]) -> RenderableType:
    times = [
        (
            *(_label(row), row.scope, str(row.batch)),
            *(_number(ms) for ms in (found.p50_ms, found.p90_ms, found.p95_ms)),
            *(_number(ms) for ms in (found.p99_ms, found.max_ms)),
            *(str(found.runs), _number(row.images_per_s)),
            "" if (ratio := row.speedup_vs_reference) is None else f"{ratio:.2f}x",
        )
        for row in rows
        if (found := row.timings) is not None
    ]
    columns = (
        *(Column("latency, ms"), Column("scope"), *numbers("batch", is_lesser=True)),
        *(*numbers("p50"), *numbers("p90", "p95", is_lesser=True), *numbers("p99")),
        *(*numbers("max", "runs", is_lesser=True), *numbers("images/s", "vs ref")),
    )
    return FittedTable(columns, times, lesser_name="the rest, ms")


def _failed_table(peers: Mapping[str, str]) -> RenderableType:
    """The rows of peers that failed: the name, and the reason in place of times."""
    rows = [(name, line(f"failed: {reason}", style="yellow")) for name, reason in peers.items()]
    return FittedTable((Column(""), Column("", is_prose=True)), rows)


def _changes_table(report: BenchReport) -> RenderableType:
    """How each row changed since an earlier report."""
    styles = {"worse": "red", "better": "green"}
    changes = [
        (change.name, change.scope, line(change.text, style=styles.get(change.verdict, "")))
        for change in report.changes
    ]
    columns = (
        Column(f"since {report.baseline}"),
        Column("scope"),
        Column("change", is_prose=True),
    )
    return FittedTable(columns, changes)


def _accuracy_table(rows: Sequence[Row]) -> RenderableType:
    cells = []
    for row in rows:
        found, worst = row.accuracy, row.accuracy.worst_landmark
        assert worst is not None
        sdr = None if found.sdr_percent is None else found.sdr_percent["2"]
        moved = ("",) * 3 if row.is_reference else _moved(found, worst.name, worst.mean_px)
        change = "" if row.is_reference else _change(found)
        share = "" if sdr is None else f"{sdr:.1f}%"
        cells.append((_label(row), *moved, _error(found), change, share, _gate(row)))
    columns = (
        *(Column("accuracy"), *numbers("moved px", "max", "worst landmark")),
        *(*numbers("MRE", "change", "SDR 2mm", is_lesser=True), *numbers("gate")),
    )
    return FittedTable(columns, cells, lesser_name="against annotations")


def _gate(row: Row) -> str:
    if row.is_peer:
        return "peer"
    return "reference" if row.gate is None else ("pass" if row.gate.passed else "FAIL")


def _label(row: Row) -> str:
    if row.is_reference:
        return f"{row.name} {'recorded' if row.stand_in else row.precision}"
    return f"{row.name} (graph)" if row.stand_in else row.name


def _moved(found: AccuracyRecord, worst: str, worst_px: float) -> tuple[str, str, str]:
    return f"{found.mean_px:.3f}", f"{found.max_px:.3f}", f"{worst} {worst_px:.3f}"


def _error(found: AccuracyRecord) -> str:
    """The MRE, in mm where that is known, else in image pixels."""
    if found.mre_mm is not None:
        return f"{found.mre_mm:.3f} mm"
    return "" if found.mre_px is None else f"{found.mre_px:.3f} px"


def _change(found: AccuracyRecord) -> str:
    """The change of MRE with its interval, in the unit of :func:`_error`."""
    delta, interval = found.delta_mre_px, found.delta_mre_px_interval
    if found.mre_mm is not None:
        delta, interval = found.delta_mre_mm, found.delta_mre_mm_interval
    between = "" if interval is None else f" [{interval[0]:+.3f}, {interval[1]:+.3f}]"
    return "" if delta is None else f"{delta:+.3f}{between}"


def _number(value: float | None) -> str:
    """Three significant digits at least, no exponent."""
    if value is None:
        return ""
    if not math.isfinite(value):
        return str(value)
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
