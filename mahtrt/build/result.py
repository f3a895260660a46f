"""Last stage of a build: the bundle is written, whole or not at all."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mahtrt
from mahtrt import files
from mahtrt.benchmarks.report import BenchReport
from mahtrt.build.engines import BuiltEngine
from mahtrt.build.graphs import Graphs
from mahtrt.build.images import ImageSets
from mahtrt.build.judge import Judged
from mahtrt.build.records import gate_record, graph_record, measured_engine, provenance_record
from mahtrt.build.request import Request
from mahtrt.build.workspace import Workspace
from mahtrt.bundle.bundle import write_bundle
from mahtrt.bundle.golden import write_golden
from mahtrt.bundle.manifest import Manifest
from mahtrt.bundle.records import VerdictRecord
from mahtrt.bundle.reference_statistics import write_reference
from mahtrt.data.preprocess_version import PREPROCESS_VERSION
from mahtrt.machine import describe_machine, package_versions
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
    verdicts: Mapping[str, VerdictRecord]
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
        writer.adopt(work.bundle)
        golden = write_golden(writer, judged.reference, judged.golden) if judged.golden else None
        files.write_text(writer.place("report.json"), report_text(judged))
        if judged.watched is not None:
            write_reference(writer, judged.watched)
        manifest = replace(_manifest(request, graphs, engines, judged, writer.root), golden=golden)
        manifest = writer.finish(manifest)
    notes = (*images.notes, *graphs.notes, *notes_of(engines))
    return BuildResult(out, manifest, judged.report, judged.verdicts, images.skipped, notes)


def report_text(judged: Judged) -> str:
    """The report of the gate, as a bundle keeps it."""
    return json.dumps(judged.report.to_dict(), indent=2) + "\n"


def notes_of(engines: Sequence[BuiltEngine]) -> Iterator[str]:
    """What the user should know of the engines, one sentence each."""
    for record in (engine.record for engine in engines):
        described = find_target(record.target).describe_build(record)
        for note in (*([described] if described else []), *record.notes):
            yield f"{record.name}: {note}"


def made_here() -> dict[str, Any]:
    """Fields of a manifest that say when and on what the bundle was made."""
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": {"mahtrt": mahtrt.__version__, **package_versions()},
        "host": describe_machine(),
    }


def _manifest(
    request: Request,
    graphs: Graphs,
    engines: Sequence[BuiltEngine],
    judged: Judged,
    root: Path,
) -> Manifest:
    graph = request.graph
    return Manifest(
        spec=graph.spec,
        precision=request.precisions[-1],  # type: ignore[arg-type]
        graphs=tuple(
            graph_record(kind, root / place.name, graph.batch)
            for kind, place in graphs.models.items()
        ),
        engines=tuple(
            measured_engine(engine.record, judged.report, judged.replays) for engine in engines
        ),
        default_engine=judged.default_engine,
        preprocess_version=PREPROCESS_VERSION,
        **made_here(),
        provenance=provenance_record(graph),
        calibration=graphs.calibration,
        gate=gate_record(judged.reference, request.options.limits),
    )
