"""The equivalence certificate: all engines of a bundle on one cohort, each against each."""

from __future__ import annotations

import itertools
from typing import Any

from mahtrt.benchmarks.report import BenchReport, Row
from mahtrt.bundle.bundle import Bundle
from mahtrt.dossier.cohort import ImageSet
from mahtrt.dossier.pairs import Pair, compared, held_dicts
from mahtrt.dossier.protocol import bundle_facts, engine_facts
from mahtrt.measure.limits import Limits

SCHEMA = "mahtrt.equivalence/1"
FILE_NAME = "equivalence.json"
SCOPE = (
    "The certificate states how far the engines' landmarks lay apart on the images listed, on this "
    "host, with these versions. It says nothing about other images, devices or versions.",
    "Equivalence to the reference is no statement about the clinical accuracy of the reference "
    "itself.",
    "The images stand for the intended population only as far as the team that chose them can "
    "show it.",
    "Limits on means allow single landmarks to move further; the largest displacement that was "
    "observed is stated, and it is no bound on what other images give.",
    "Two engines that are each within a limit of the reference can be twice that limit apart; "
    "therefore each pair is judged as well.",
)


def equivalence_document(
    bundle: Bundle,
    report: BenchReport,
    images: ImageSet,
    limits: Limits,
    protocol_sha256: str,
) -> dict[str, Any]:
    """The certificate.

    Args:
        report: Of a bench on the images, with all engines of the bundle that run here.
    """
    rows = {row.name: row for row in report.rows if row.is_engine and row.scope == "engine"}
    pairs = engine_pairs(report, rows, limits)
    outputs = [_outputs(row, limits) for row in rows.values() if not pairs or _has_outputs(row)]
    known = {engine.name: engine for engine in bundle.manifest.engines}
    left_out = sorted(set(known) - set(rows))
    stand_ins = {name: row.stand_in for name, row in rows.items() if row.stand_in}
    passed = all(pair.passed for pair in pairs) and all(each["passed"] for each in outputs)
    return {
        "schema": SCHEMA,
        "bundle": bundle_facts(bundle),
        "protocol_sha256": protocol_sha256,
        "cohort": {name: images.to_dict()[name] for name in ("source", "images", "sha256")},
        "reference": report.conditions["reference"],
        "engines": [
            {**engine_facts(bundle, known[name]), "device": row.device}
            for name, row in rows.items()
        ],
        "left_out": left_out,
        "stand_ins": stand_ins,
        "limits": limits.to_dict(),
        "pairs": [pair.to_dict() for pair in pairs],
        "outputs": outputs,
        "host": dict(report.machine),
        "versions": dict(report.versions),
        "complete": not left_out and not stand_ins,
        "passed": passed,
        "scope": list(SCOPE),
    }


def engine_pairs(report: BenchReport, rows: dict[str, Row], limits: Limits) -> list[Pair]:
    """Every engine against the reference, then every two engines; none without landmarks.

    Two FP32 engines are held to the limits of FP32, any other two to those of the reduced one.

    Args:
        rows: Engine to its row.
    """
    cohort = report.cohort
    assert cohort is not None  # every bench has one
    if not cohort.names:
        return []
    against = [
        compared(cohort, (cohort.reference, name), limits, row.precision)
        for name, row in rows.items()
    ]
    among = [
        compared(cohort, (first, second), limits, _looser(rows[first], rows[second]))
        for first, second in itertools.combinations(rows, 2)
    ]
    return [*against, *among]


def _looser(first: Row, second: Row) -> str:
    """The precision whose limits hold for two engines: the reduced one."""
    return second.precision if first.precision == "fp32" else first.precision


def _has_outputs(row: Row) -> bool:
    """Whether more than landmarks was compared."""
    found = row.accuracy
    return bool(found.maps or found.logits or found.visibility)


def _outputs(row: Row, limits: Limits) -> dict[str, Any]:
    """All outputs of an engine against the reference; those but landmarks have no pairs."""
    held = limits.held(row.accuracy, row.precision)
    return {
        "engine": row.name,
        "limits": held_dicts(held, row.accuracy),
        "passed": all(each.passed for each in held),
    }
