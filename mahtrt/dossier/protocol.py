"""The verification protocol: what is measured, on what, and the limits, fixed before the run.

Its file is written and hashed before the first image is measured, and the result names that digest.
Limits that were chosen after the numbers were seen would be in another file, with another digest.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from mahtrt.benchmarks.options import BenchOptions
from mahtrt.bundle.bundle import Bundle
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.dossier.cohort import ImageSet
from mahtrt.machine import describe_machine, package_versions
from mahtrt.schema import plain

SCHEMA = "mahtrt.protocol/1"
FILE_NAME = "protocol.json"
METHOD = {
    "displacement": (
        "Euclidean distance between a landmark of an engine and the same landmark of the "
        "reference on the same image, in pixels of the network's input; in mm by the image's pixel "
        "spacing where it is known"
    ),
    "intervals": (
        "95%, by a paired bootstrap over images, expanded percentiles (Hesterberg, The American "
        "Statistician 69, 2015); none with fewer than eight images"
    ),
    "percentiles": "nearest rank",
    "latency": (
        "End to end: an image in memory to landmarks in that image's pixels; all engines and the "
        "reference interleaved round by round in one process"
    ),
    "judgement": (
        "A number that cannot be measured on these images counts as over its limit; points are "
        "excused from limits on single points only where the reference's own heatmap is wide"
    ),
}


def now() -> str:
    """The time, ISO 8601 in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def protocol_document(
    bundle: Bundle, options: BenchOptions, images: ImageSet, more: Mapping[str, Any]
) -> dict[str, Any]:
    """The protocol of a verification.

    Args:
        more: What else is fixed, by name.
    """
    limits = options.limits.to_dict()
    return {
        "schema": SCHEMA,
        "fixed_at": now(),
        "bundle": bundle_facts(bundle),
        "engines": [engine_facts(bundle, engine) for engine in bundle.manifest.engines],
        "data": images.to_dict(),
        "limits": {
            "accuracy": {name: limit for name, limit in limits.items() if limit is not None},
            "latency_p99_ms": options.latency_budget_ms,
        },
        "method": METHOD,
        "rounds": options.rounds,
        "settle": options.settle,
        "max_seconds": options.max_seconds,
        "seed": options.seed,
        "threads": options.threads,
        "host": describe_machine().to_dict(),
        "versions": package_versions(),
        **more,
    }


def bundle_facts(bundle: Bundle) -> dict[str, Any]:
    """Which bundle a document is about."""
    manifest = bundle.manifest
    return {
        "name": bundle.path.resolve().name,
        "manifest_sha256": bundle.manifest_sha256,
        "family": manifest.spec.family,
        "precision": manifest.precision,
        "default_engine": manifest.default_engine,
        "created": manifest.created,
    }


def engine_facts(bundle: Bundle, engine: EngineRecord) -> dict[str, Any]:
    """Which engine a document is about, with the digest of each of its files."""
    return {
        "name": engine.name,
        "target": engine.target,
        "precision": engine.precision,
        "batch": engine.batch,
        "files": {
            path: bundle.records[path].sha256 for path in dict.fromkeys(engine.files.values())
        },
        "versions": plain(engine.versions),
    }
