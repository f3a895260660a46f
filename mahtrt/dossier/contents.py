"""What a bundle is made of, part by part, with digests: the facts that an SBOM lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from mahtrt.bundle.bundle import Bundle
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.bundle.plan import plan_name
from mahtrt.targets.table import find_target

Kind = Literal["model", "data", "file"]

CHECKPOINT, CARD, EXPORT = "checkpoint", "calibration-card", "export"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a bundle, or what one was made from.

    Attributes:
        ref: Unique in the bundle.
        sha256: Digest of its content; "" where it is not known, or there is no one file.
        made_from: ``ref`` of the parts that it was made from.
        module: Import name of the package that runs it, "" for what nothing runs.
        facts: What else is known, by name.
    """

    ref: str
    name: str
    kind: Kind
    described: str
    sha256: str = ""
    made_from: tuple[str, ...] = ()
    module: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


def parts_of(bundle: Bundle) -> tuple[Part, ...]:
    """Everything that a bundle consists of, and what it was made from, as far as it says."""
    manifest = bundle.manifest
    origin = tuple(_origin(bundle))
    known = {part.ref for part in origin}
    engine_files = {path for engine in manifest.engines for path in engine.files.values()}
    graphs = {graph.file: graph for graph in manifest.graphs}
    files = []
    for record in manifest.files:
        made_from: tuple[str, ...] = ()
        kind: Kind = "file"
        described = "File of the bundle"
        if record.path in graphs:
            graph, kind = graphs[record.path], "model"
            described = f"ONNX graph {graph.name}, {graph.precision}, batch {graph.batch}"
            made_from = _sources_of_graph(bundle, graph.precision, known)
        elif record.path in _PLANS:
            kind, described = "data", "Precision plan"
        elif record.path in engine_files:
            described = "File of an engine"
        elif record.path.startswith("golden/"):
            kind, described = "data", "Golden vector"
        facts = {"size": str(record.size)}
        files.append(
            Part(
                file_ref(record.path),
                record.path,
                kind,
                described,
                record.sha256,
                made_from,
                facts=facts,
            )
        )
    engines = tuple(_engine(engine) for engine in manifest.engines)
    return (*origin, *files, *engines)


def file_ref(path: str) -> str:
    """The ``ref`` of a file of the bundle."""
    return f"file:{path}"


def engine_ref(name: str) -> str:
    """The ``ref`` of an engine."""
    return f"engine:{name}"


def extras_of(bundle: Bundle) -> tuple[str, ...]:
    """Extras of mahtrt that the targets of a bundle's engines need."""
    targets = (find_target(engine.target) for engine in bundle.manifest.engines)
    return tuple(sorted({target.extra for target in targets if target.extra}))


_PLANS = {plan_name(precision) for precision in ("int8", "fp16", "bf16")}


def _origin(bundle: Bundle) -> Iterator[Part]:
    """Weights, export and calibration, as far as the bundle knows them."""
    manifest = bundle.manifest
    source, provenance = manifest.source, manifest.provenance
    has_weights = bool(source.checkpoint or source.checkpoint_sha256)
    if has_weights:
        yield Part(
            CHECKPOINT,
            source.checkpoint or "checkpoint",
            "model",
            "Weights that were exported",
            source.checkpoint_sha256 or "",
        )
    if provenance is not None:
        yield Part(
            EXPORT,
            f"export of {source.model or manifest.spec.family}",
            "model",
            "ONNX graph as it was exported, before the build",
            provenance.onnx_sha256,
            (CHECKPOINT,) if has_weights else (),
        )
    if manifest.calibration is not None:
        found, card = manifest.calibration, manifest.calibration.card
        yield Part(
            CARD,
            "calibration card",
            "data",
            "What INT8 was calibrated on; its digest is over the prepared images",
            card.digest,
            facts={
                "data": found.data,
                "images": str(card.images),
                "images_digest": found.images_digest,
                "method": found.method,
            },
        )


def _sources_of_graph(bundle: Bundle, precision: str, known: set[str]) -> tuple[str, ...]:
    """What a graph was made from: the export, and for a reduced precision plan and calibration."""
    sources = [EXPORT] if EXPORT in known else []
    if precision != "fp32" and plan_name(precision) in bundle.records:
        sources.append(file_ref(plan_name(precision)))
    if precision == "int8" and CARD in known:
        sources.append(CARD)
    return tuple(sources)


def _engine(engine: EngineRecord) -> Part:
    """An engine: its files are parts of their own."""
    target = find_target(engine.target)
    facts = {"target": engine.target, "precision": engine.precision, "batch": str(engine.batch)}
    facts |= {f"compiled_with:{name}": version for name, version in engine.versions.items()}
    if engine.device.name:
        facts["device"] = engine.device.name
    return Part(
        engine_ref(engine.name),
        engine.name,
        "model",
        f"Engine for {engine.target} in {engine.precision}",
        made_from=tuple(file_ref(path) for path in dict.fromkeys(engine.files.values())),
        module=target.package,
        facts=facts,
    )
