"""The verdict of a bench in words: whether it is a pass, why not, and under which conditions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from mahtrt.bundle.records import AccuracyRecord, LandmarkRecord
from mahtrt.cuda.state import GpuState
from mahtrt.measure.accuracy import LISTED_POINTS
from mahtrt.verbs.rendering import Indented, line

if TYPE_CHECKING:
    from mahtrt.benchmarks.report import BenchReport, Row

SHOWN_LANDMARKS = 5  # of an engine that failed


def verdict_lines(report: BenchReport) -> Iterator[RenderableType]:
    """PASS or FAIL, why, what was judged, and what it was held against."""
    passed = report.passed
    verdict = line("PASS" if passed else "FAIL", style="bold green" if passed else "bold red")
    yield Indented(verdict.append("  " + _judged(report), "not bold default"), 0, 6)
    for reason in report.reasons:
        yield Indented(line(reason, style="red"), 2, 4)
    yield from _failures([row for row in report.rows if row.scope == "engine" and row.gate])
    yield Indented(line(f"reference: {report.conditions.get('reference', '')}", "dim"), 2, 4)
    for text in _devices(report.rows):
        yield Indented(line(text, "dim"), 2, 4)


def _judged(report: BenchReport) -> str:
    """How many engines are within their limits, and the time that was judged."""
    judged = [row for row in report.rows if row.scope == "engine" and row.gate is not None]
    within = sum(row.gate is not None and row.gate.passed for row in judged)
    facts = [f"accuracy: {within} of {len(judged)} engines within limits"] if judged else []
    if report.latency_budget_ms is not None:
        facts.append(
            f"latency: {report.judged_row.name} end_to_end p99 {report.judged_p99_ms:.4g} ms of "
            f"{report.latency_budget_ms:g} ms"
        )
    return "; ".join(facts)


def condition_lines(report: BenchReport) -> Iterator[RenderableType]:
    """Wide heatmaps, the GPU's clocks around the timed rounds, and how each network ran there."""
    judged = [row for row in report.rows if row.scope == "engine" and row.gate is not None]
    told = [*_wide_heatmaps(judged), *_gpu_lines(report)]
    yield from (Indented(line(text), 0, 2) for text in told)


def worst_landmarks(accuracy: AccuracyRecord) -> tuple[LandmarkRecord, ...]:
    """The landmarks that moved most on average, the worst first."""
    rows = sorted(accuracy.per_landmark, key=lambda row: -row.mean_px)
    return tuple(rows[:SHOWN_LANDMARKS])


def _gpu_lines(report: BenchReport) -> Iterator[str]:
    """The GPU's clocks around the timed rounds, and how each network ran there."""
    clocks = report.conditions.get("gpu") or {}
    for when in ("before", "after"):
        state = clocks.get(when)
        if state is not None:
            yield f"GPU {when}: {_clocks(state)}"
    for name, facts in report.conditions.get("runs", {}).items():
        yield f"{name}: {', '.join(f'{key} {value}' for key, value in facts.items())}"


def _clocks(state: Mapping[str, Any]) -> str:
    """As :class:`mahtrt.cuda.state.GpuState` tells itself."""
    known = {**state, "reasons": tuple(state["reasons"])}
    return f"{state['name']}, driver {state['driver']}, {GpuState(**known)}"


def _devices(rows: Sequence[Row]) -> Iterator[str]:
    """What computed what: ``on cpu: pytorch, openvino-int8``."""
    by_device: dict[str, list[str]] = {}
    for row in rows:
        if row.device and row.scope == "engine" and not row.stand_in:
            by_device.setdefault(row.device, []).append(row.name)
    return (f"on {device}: {', '.join(names)}" for device, names in by_device.items())


def _failures(rows: Sequence[Row]) -> Iterator[RenderableType]:
    """Which landmarks the engines that failed moved most."""
    for row in rows:
        found = worst_landmarks(row.accuracy)
        if row.gate is None or row.gate.passed or not found:
            continue
        width = max(len(landmark.name) for landmark in found)
        yield Indented(line(f"worst landmarks of {row.name}:"), 2, 4)
        for each in found:
            yield Indented(line(f"{each.name:<{width}}  {_landmark(each)}"), 4, 6)


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
