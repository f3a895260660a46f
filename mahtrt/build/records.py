"""What the stages of a build found, as the manifest records it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mahtrt.benchmarks.report import BenchReport, Row
from mahtrt.bundle.manifest import EngineRecord, GraphRecord
from mahtrt.bundle.origin import ProvenanceRecord
from mahtrt.bundle.records import (
    AccuracyRecord,
    BudgetsRecord,
    GateRecord,
    LatencyRecord,
    VerdictRecord,
)
from mahtrt.graph.graph_file import GraphFile
from mahtrt.measure.limits import Limits
from mahtrt.measure.timing import Timings
from mahtrt.schema import dataclass_from
from mahtrt.targets.graph_kinds import GraphKind, Int8


def graph_record(kind: GraphKind, place: Path, batch: int) -> GraphRecord:
    """A graph of the bundle.

    Args:
        place: Its ONNX, in the folder of the bundle.
        batch: Images per inference.
    """
    import onnx

    from mahtrt.graph.index import opset_of

    precision: Any = kind.name.partition("-")[0]
    weight_bits = kind.weight_bits if isinstance(kind, Int8) else None
    opset = opset_of(onnx.load(place))
    return GraphRecord(kind.name, place.name, precision, batch, opset, weight_bits)


def measured_engine(
    record: EngineRecord, report: BenchReport, replays: Mapping[str, AccuracyRecord]
) -> EngineRecord:
    """An engine with its verdict, accuracy and latency, and what it gives for golden vectors.

    Args:
        replays: Engine name to that.
    """
    (row,) = (row for row in report.rows if row.name == record.name and row.scope == "engine")
    return replace(
        record,
        verdict=_verdict(row),
        accuracy=row.accuracy,
        latency=_latency(row.timings),
        golden=replays.get(record.name),
    )


def with_usual_spreads(record: EngineRecord, known: Iterable[EngineRecord]) -> EngineRecord:
    """An engine with the reference's usual spreads, where only other engines' records have them.

    Golden images have no heatmaps to tell a spread by, and the reference's is the same for all.
    """
    usual = {
        row.name: row.usual_spread_px
        for other in known
        if other.accuracy is not None
        for row in other.accuracy.per_landmark
        if row.usual_spread_px is not None
    }
    found = record.accuracy
    if found is None:
        return record
    rows = (
        replace(row, usual_spread_px=usual.get(row.name)) if row.usual_spread_px is None else row
        for row in found.per_landmark
    )
    return replace(record, accuracy=replace(found, per_landmark=tuple(rows)))


def gate_record(reference: str, limits: Limits) -> GateRecord:
    """The accuracy gate that engines were held to."""
    return GateRecord(reference, dataclass_from(BudgetsRecord, limits.to_dict(), "limits"))


def provenance_record(graph: GraphFile) -> ProvenanceRecord:
    """Where the export came from."""
    return ProvenanceRecord(graph.sha256, graph.source, graph.parity)


def _verdict(row: Row) -> VerdictRecord | None:
    if row.gate is None:
        return None
    return replace(row.gate, measured_on=row.measured_on)


def _latency(timings: Timings | None) -> LatencyRecord | None:
    if timings is None:
        return None
    return LatencyRecord(round(timings.p50_ms, 3), round(timings.p90_ms, 3), timings.runs)
