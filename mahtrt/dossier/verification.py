"""The result of a verification: every number beside the limit that the protocol fixed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mahtrt.benchmarks.report import BenchReport, Row
from mahtrt.dossier.pairs import displacement, held_dicts
from mahtrt.measure.limits import Limits
from mahtrt.schema import plain

SCHEMA = "mahtrt.verification/1"
FILE_NAME = "verification.json"


@dataclass(frozen=True, slots=True)
class Span:
    """When something was measured, ISO 8601 in UTC."""

    started: str
    finished: str


def verification_document(
    report: BenchReport, limits: Limits, protocol_sha256: str, span: Span
) -> dict[str, Any]:
    """What the run found.

    Args:
        protocol_sha256: Digest of the protocol's file, which was written before the run.
    """
    engines = [_engine(report, row, limits) for row in report.rows if _is_judged(row)]
    latency = _latency(report)
    return {
        "schema": SCHEMA,
        "protocol": {"file": "protocol.json", "sha256": protocol_sha256},
        "started": span.started,
        "finished": span.finished,
        "reference": report.conditions["reference"],
        "images": report.conditions["images"],
        "engines": engines,
        "latency": latency,
        "host": dict(report.machine),
        "versions": dict(report.versions),
        "load_average": report.conditions["load_average"],
        "notes": list(report.warnings),
        "passed": all(each["passed"] for each in (*engines, latency)),
    }


def _is_judged(row: Row) -> bool:
    return row.scope == "engine" and row.gate is not None


def _engine(report: BenchReport, row: Row, limits: Limits) -> dict[str, Any]:
    """One engine, judged."""
    held, cohort = limits.held(row.accuracy, row.precision), report.cohort
    assert cohort is not None  # every bench has one
    found = displacement(cohort.points[row.name], cohort.points[cohort.reference], cohort)
    return {
        "name": row.name,
        "target": row.backend,
        "precision": row.precision,
        "batch": row.batch,
        "device": row.device,
        "threads": row.threads,
        "measured_on": row.measured_on,
        "images": row.accuracy.images,
        "displacement": plain(found),
        "mre_mm": plain(row.accuracy.mre_mm),
        "reference_mre_mm": plain(row.accuracy.reference_mre_mm),
        "limits": held_dicts(held, row.accuracy, found),
        "passed": all(each.passed for each in held),
    }


def _latency(report: BenchReport) -> dict[str, Any]:
    """The default engine's latency, judged by its p99."""
    row = report.judged_row
    assert row.timings is not None  # a judged row was timed
    return {
        "engine": row.name,
        "scope": row.scope,
        "p50_ms": row.timings.p50_ms,
        "p99_ms": row.timings.p99_ms,
        "runs": row.timings.runs,
        "unstable": row.timings.unstable,
        "speedup_vs_reference": row.speedup_vs_reference,
        "limit_p99_ms": report.latency_budget_ms,
        "passed": report.latency_pass,
    }
