"""Last stage of a build: the bundle is written, whole or not at all."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mahtrt
from mahtrt.benchmarks.report import BenchReport
from mahtrt.build.engines import BuiltEngine
from mahtrt.build.graphs import Graphs
from mahtrt.build.images import ImageSets
from mahtrt.build.judge import Judged
from mahtrt.build.request import Request
from mahtrt.build.workspace import Workspace
from mahtrt.bundle.bundle import write_bundle
from mahtrt.bundle.golden import write_golden
from mahtrt.bundle.manifest import EngineRecord, GoldenInfo, Manifest
from mahtrt.machine import describe_machine, package_versions
from mahtrt.measure.limits import Verdict
from mahtrt.measure.timing import Timings
from mahtrt.targets.table import find_target


@dataclass(frozen=True, slots=True)
class BuildResult:
    """A bundle that was built.

    Attributes:
        path: The bundle.
        report: Accuracy and a first latency of every engine against the reference.
        verdicts: Engine name to verdict of its accuracy gate.
        skipped: Images that were left out because they cannot be read.
        notes: What the user should know about calibration and engines, one sentence each.
    """

    path: Path
    manifest: Manifest
    report: BenchReport
    verdicts: Mapping[str, Verdict]
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def write_result(
    request: Request,
    images: ImageSets,
    graphs: Graphs,
    engines: Sequence[BuiltEngine],
    judged: Judged,
    work: Workspace,
) -> BuildResult:
    """Write the bundle from what the stages before it made.

    Raises:
        UsageError: Something that is not a bundle is at the place by now.
        BuildError: The disk is full, or the place cannot be written.
    """
    out = request.options.out
    with write_bundle(out) as writer:
        for source in sorted(p for p in work.bundle.rglob("*") if p.is_file()):
            os.replace(source, writer.place(source.relative_to(work.bundle).as_posix()))
        if judged.golden:
            write_golden(writer.place("golden.npz"), judged.golden)
        report = json.dumps(judged.report.to_dict(), indent=2) + "\n"
        writer.place("report.json").write_text(report, encoding="utf-8")
        manifest = writer.finish(_manifest(request, graphs, engines, judged, work))
    notes = (f"{e.record.name}: {note}" for e in engines for note in _notes(e.record))
    return BuildResult(
        out, manifest, judged.report, judged.verdicts, images.skipped, (*graphs.notes, *notes)
    )


def _notes(record: EngineRecord) -> Iterator[str]:
    """What the user should know of an engine that was built."""
    described = find_target(record.target).describe_build(record)
    if described:
        yield described
    yield from record.notes


def _manifest(
    request: Request,
    graphs: Graphs,
    engines: Sequence[BuiltEngine],
    judged: Judged,
    work: Workspace,
) -> Manifest:
    graph = request.graph
    golden = GoldenInfo(reference=judged.reference, images=len(judged.golden))
    return Manifest(
        spec=graph.spec,
        precision=request.precisions[-1],  # type: ignore[arg-type]
        models={
            kind.name: place.relative_to(work.bundle).as_posix()
            for kind, place in graphs.models.items()
        },
        engines=tuple(_measured(engine.record, judged.report) for engine in engines),
        default_engine=judged.default_engine,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        versions={"mahtrt": mahtrt.__version__, **package_versions()},
        host=describe_machine().to_dict(),
        provenance={**graph.source, "onnx_sha256": graph.sha256, "parity": dict(graph.parity)},
        plan=graphs.plan,
        calibration=graphs.calibration,
        gate=_gate(request, judged),
        golden=golden if judged.golden else None,
    )


def _measured(record: EngineRecord, report: BenchReport) -> EngineRecord:
    """An engine's record with its accuracy and latency."""
    (row,) = (row for row in report.rows if row.name == record.name and row.scope == "engine")
    return dataclasses.replace(
        record,
        accuracy={"measured_on": row.measured_on, **row.accuracy.to_dict()},
        latency_ms=_latency(row.timings),
    )


def _gate(request: Request, judged: Judged) -> dict[str, Any]:
    measured_on = {row.name: row.measured_on for row in judged.report.rows}
    return {
        "reference": judged.reference,
        "budgets": request.options.limits.to_dict(),
        "passed": all(verdict.passed for verdict in judged.verdicts.values()),
        "engines": {
            name: {**dataclasses.asdict(verdict), "measured_on": measured_on[name]}
            for name, verdict in judged.verdicts.items()
        },
    }


def _latency(timings: Timings | None) -> dict[str, Any]:
    if timings is None:
        return {}
    p50, p90 = round(timings.p50_ms, 3), round(timings.p90_ms, 3)
    return {"scope": "engine", "p50": p50, "p90": p90, "runs": timings.runs}
