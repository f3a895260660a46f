"""A bench's report as text: tables, the verdict, and why it is not a pass."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mahtrt.bundle.records import AccuracyRecord, LandmarkRecord
from mahtrt.cuda.state import GpuState
from mahtrt.measure.accuracy import LISTED_POINTS
from mahtrt.verbs.agreement_text import agreement_tables
from mahtrt.verbs.measuring_text import measuring_legend, measuring_tables
from mahtrt.verbs.output_text import legend, output_tables
from mahtrt.verbs.rendering import line

if TYPE_CHECKING:
    from mahtrt.benchmarks.report import BenchReport, Row

SHOWN_LANDMARKS = 5  # of an engine that failed

LEGEND = (
    "engine: prepared tensor to outputs. end_to_end: image in memory to the result in its pixels.",
    "Times per call in ms, interleaved round by round; vs ref: median ratio per round and image.",
)
DEVICE_LEGEND = "timed_by device (JSON): engine, between two events of the GPU, without copies."
CHANGE_LEGEND = (
    "change: of the time relative to the reference, with its 95% interval; better or worse only",
    "beyond --tolerance, and where the interval does not hold zero.",
)
PEER_LEGEND = "peer: what else runs the network; timed and compared, and judged by nobody."
GATE_LEGEND = "gate: whether all that an engine gives, in all its tables, is within its limits."
LANDMARK_LEGEND = (
    "moved: distance to the reference's landmarks, pixels of the network's input.",
    "MRE: mean distance to annotations, mm or image pixels; change: engine minus reference, with",
    "its 95% interval over images (from 8 on). SDR: annotated points found within 2 mm.",
)


def report_table(report: BenchReport) -> RenderableType:
    """Latency, accuracy, verdict, warnings and legend, for a terminal."""
    rows = [row for row in report.rows if row.scope == "engine"]
    has_landmarks = bool(rows[0].accuracy.per_landmark)
    lines: list[RenderableType] = [_latency_table(report.rows)]
    lines += [_failed_table(report.failed_peers)] if report.failed_peers else []
    lines += [Text(), _accuracy_table(rows)] if has_landmarks else []
    lines += output_tables(rows, _label, None if has_landmarks else _gate)
    lines += agreement_tables(report)
    lines += [Text(), _changes_table(report)] if report.changes else []
    lines += measuring_tables(report.measures)
    lines += [Text(), *_verdict_lines(report), *_gpu_lines(report)]
    lines += [line(f"warning: {warning}", style="yellow") for warning in report.warnings]
    told = (*LEGEND, *_special(rows, bool(report.failed_peers)), GATE_LEGEND)
    told += CHANGE_LEGEND if report.changes else ()
    told += measuring_legend(report.measures)
    told += (*(LANDMARK_LEGEND if has_landmarks else ()), *legend(rows))
    lines += [Text(), *(line(text, style="dim") for text in told)]
    return Group(*lines)


def _special(rows: Sequence[Row], has_failed: bool) -> Iterator[str]:
    """What only some reports have to explain."""
    if any(row.timed_by == "device" for row in rows):
        yield DEVICE_LEGEND
    if any(row.is_peer for row in rows) or has_failed:
        yield PEER_LEGEND


def _gpu_lines(report: BenchReport) -> Iterator[RenderableType]:
    """The GPU's clocks around the timed rounds, and how each network ran there."""
    clocks = report.conditions.get("gpu") or {}
    for when in ("before", "after"):
        state = clocks.get(when)
        if state is not None:
            yield line(f"  GPU {when}: {_clocks(state)}")
    for name, facts in report.conditions.get("runs", {}).items():
        yield line(f"  {name}: {', '.join(f'{key} {value}' for key, value in facts.items())}")


def _clocks(state: Mapping[str, Any]) -> str:
    """As :class:`mahtrt.cuda.state.GpuState` tells itself."""
    known = {**state, "reasons": tuple(state["reasons"])}
    return f"{state['name']}, driver {state['driver']}, {GpuState(**known)}"


def worst_landmarks(accuracy: AccuracyRecord) -> tuple[LandmarkRecord, ...]:
    """The landmarks that moved most on average, the worst first."""
    rows = sorted(accuracy.per_landmark, key=lambda row: -row.mean_px)
    return tuple(rows[:SHOWN_LANDMARKS])


def _verdict_lines(report: BenchReport) -> list[RenderableType]:
    row = report.judged_row
    verdict = line("PASS" if report.passed else "FAIL", style="green" if report.passed else "red")
    facts = [f"reference: {report.conditions.get('reference', '')}"]
    if report.latency_budget_ms is not None:
        facts.insert(
            0,
            f"{row.name} end_to_end p99 {report.judged_p99_ms:.4g} ms of "
            f"{report.latency_budget_ms:g} ms",
        )
    verdict.append("  " + "; ".join(facts))
    lines: list[RenderableType] = [verdict]
    lines += [line(f"  {text}", style="dim") for text in _devices(report.rows)]
    lines += [line(f"  {reason}", style="red") for reason in report.reasons]
    judged = [row for row in report.rows if row.scope == "engine" and row.gate is not None]
    return [*lines, *(line(f"  {text}") for text in (*_failures(judged), *_wide_heatmaps(judged)))]


def _devices(rows: Sequence[Row]) -> Iterator[str]:
    """What computed what: ``on cpu: pytorch, openvino-int8``."""
    by_device: dict[str, list[str]] = {}
    for row in rows:
        if row.device and row.scope == "engine" and not row.stand_in:
            by_device.setdefault(row.device, []).append(row.name)
    return (f"on {device}: {', '.join(names)}" for device, names in by_device.items())


def _failures(rows: Sequence[Row]) -> Iterator[str]:
    """Which landmarks the engines that failed moved most."""
    for row in rows:
        if row.gate is None or row.gate.passed:
            continue
        found = worst_landmarks(row.accuracy)
        if not found:
            continue
        width = max(len(landmark.name) for landmark in found)
        yield f"worst landmarks of {row.name}:"
        yield from (f"  {each.name:<{width}}  {_landmark(each)}" for each in found)


def _wide_heatmaps(rows: Sequence[Row]) -> Iterator[str]:
    """How many points have a wide heatmap; what is true of several engines is said once."""
    by_text: dict[str, list[str]] = {}
    for row in rows:
        if row.accuracy.two_peaked:
            by_text.setdefault(_wide(row.accuracy), []).append(row.name)
        if row.accuracy.new_two_peaks:
            by_text.setdefault(_newly_wide(row.accuracy), []).append(row.name)
    return (f"{', '.join(names)}: {text}" for text, names in by_text.items())


def _landmark(row: LandmarkRecord) -> str:
    change = row.mre_change_percent
    grown = "" if change is None else f", MRE {change:+.2f}%"
    if grown and (between := row.mre_change_percent_interval):
        grown += f" [{between[0]:+.2f}, {between[1]:+.2f}]"
    return f"moved {row.mean_px:.3f} px, at most {row.max_px:.3f} px{grown}"


def _wide(found: AccuracyRecord) -> str:
    count, most = found.two_peaked or 0, found.two_peaked_max_px or 0.0
    have, it, is_listed = ("1 point has", "it", "it is") if count == 1 else ("", "they", "they are")
    if count > LISTED_POINTS:
        is_listed = f"the {LISTED_POINTS} that moved most are"
    return (
        f"{have or f'{count} points have'} a heatmap far wider than usual; {it} moved by up to "
        f"{most:.2f} px{_not_excused(found)}; {is_listed} listed in the JSON"
    )


def _not_excused(found: AccuracyRecord) -> str:
    """How many of the points with a wide heatmap moved further than it explains."""
    if found.two_peaked is None or found.two_peaked_excused is None:
        return ""
    judged = found.two_peaked - found.two_peaked_excused
    who = "" if found.two_peaked == 1 else f"{judged} of them "
    return f", {who}further than that explains" if judged else ""


def _newly_wide(found: AccuracyRecord) -> str:
    count, most = found.new_two_peaks or 0, found.new_two_peaks_max_px or 0.0
    have = "1 point has" if count == 1 else f"{count} points have"
    return (
        f"{have} a heatmap that only this engine made far wider than usual, which excuses nothing; "
        f"moved by up to {most:.2f} px"
    )


def _latency_table(rows: Sequence[Row]) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("latency", no_wrap=True)
    table.add_column("scope")
    for name in ("batch", "p50", "p90", "p95", "p99", "max", "runs", "images/s", "vs ref"):
        table.add_column(name, justify="right")
    for row in rows:
        times, ratio = row.timings, row.speedup_vs_reference
        if times is None:
            continue
        table.add_row(
            _label(row),
            row.scope,
            str(row.batch),
            *(
                _number(value)
                for value in (times.p50_ms, times.p90_ms, times.p95_ms, times.p99_ms, times.max_ms)
            ),
            str(times.runs),
            _number(row.images_per_s),
            "" if ratio is None else f"{ratio:.2f}x",
        )
    return table


def _failed_table(peers: Mapping[str, str]) -> RenderableType:
    """The rows of peers that failed: the name, and the reason in place of times."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, reason in peers.items():
        table.add_row(line(name), line(f"failed: {reason}", style="yellow"))
    return table


def _changes_table(report: BenchReport) -> RenderableType:
    """How each row changed since an earlier report."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(f"since {report.baseline}", no_wrap=True)
    table.add_column("scope")
    table.add_column("change", overflow="fold")
    styles = {"worse": "red", "better": "green"}
    for change in report.changes:
        told = line(change.text, style=styles.get(change.verdict, ""))
        table.add_row(change.name, change.scope, told)
    return table


def _accuracy_table(rows: Sequence[Row]) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("accuracy", no_wrap=True)
    for name in ("moved px", "max", "worst landmark", "MRE", "change", "SDR 2mm", "gate"):
        table.add_column(name, justify="right")
    for row in rows:
        found, worst = row.accuracy, row.accuracy.worst_landmark
        assert worst is not None
        sdr = None if found.sdr_percent is None else found.sdr_percent["2"]
        table.add_row(
            _label(row),
            *(("",) * 3 if row.is_reference else _moved(found, worst.name, worst.mean_px)),
            _error(found),
            "" if row.is_reference else _change(found),
            "" if sdr is None else f"{sdr:.1f}%",
            _gate(row),
        )
    return table


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
