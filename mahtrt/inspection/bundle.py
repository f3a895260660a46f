"""What a bundle holds: its manifest in short, its engines, and its graphs on request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mahtrt.bundle.bundle import Bundle, read_bundle
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.inspection.plan_file import layers_beside
from mahtrt.targets.tensorrt.inspector import EngineLayers

if TYPE_CHECKING:
    from mahtrt.graph.describe import GraphSummary

# The field of an engine record that says how it was built.
_BUILD = "build"


@dataclass(frozen=True, slots=True)
class EngineSummary:
    """One engine of a bundle.

    Attributes:
        bytes: Of its files that are its own: the graph it was built from is not counted, except
            where the engine is that graph.
        device: What it was compiled for.
        build: Cache key, seconds, memory: what the manifest tells of its build.
        accuracy: Against PyTorch, measured by the build's gate.
        gate: ``passed`` and the reasons, {} where it was not judged.
        layers: What the engine inspector said, where the flavour gives it.
    """

    name: str
    target: str
    precision: str
    batch: int
    is_default: bool
    bytes: int
    files: Mapping[str, str]
    device: Mapping[str, Any]
    versions: Mapping[str, str]
    build: Mapping[str, Any]
    accuracy: Mapping[str, Any]
    latency_ms: Mapping[str, Any]
    gate: Mapping[str, Any]
    notes: tuple[str, ...]
    layers: EngineLayers | None = None

    def to_dict(self) -> dict[str, Any]:
        table = {name: getattr(self, name) for name in self.__slots__ if name != "layers"}
        plain = {k: dict(v) if isinstance(v, Mapping) else v for k, v in table.items()}
        layers = None if self.layers is None else self.layers.to_dict()
        return {**plain, "notes": list(self.notes), "layers": layers}


@dataclass(frozen=True, slots=True)
class BundleSummary:
    """A bundle's manifest in short.

    Attributes:
        precision: What was asked of the build.
        models: Precision to the ONNX file that holds it.
        plan: INT8 and float blocks of the precision plan, {} without one.
        graphs: Summaries by precision, of those that were asked for.
    """

    schema: str
    created: str
    precision: str
    models: Mapping[str, str]
    engines: tuple[EngineSummary, ...]
    default_engine: str
    bytes: int
    spec: Mapping[str, Any]
    versions: Mapping[str, str]
    host: Mapping[str, Any]
    provenance: Mapping[str, Any]
    calibration: Mapping[str, Any]
    gate: Mapping[str, Any]
    plan: Mapping[str, Any]
    graphs: Mapping[str, GraphSummary] = field(default_factory=dict)

    def to_dict(self, top: int = 10) -> dict[str, Any]:
        table = {name: getattr(self, name) for name in self.__slots__}
        plain = {k: dict(v) if isinstance(v, Mapping) else v for k, v in table.items()}
        engines = [engine.to_dict() for engine in self.engines]
        graphs = {name: graph.to_dict(top) for name, graph in self.graphs.items()}
        return {**plain, "engines": engines, "graphs": graphs}


def describe_bundle(path: Path, *, graphs: bool = False) -> BundleSummary:
    """Describe a bundle from its manifest.

    The files that are read are checked against it; ``mahtrt verify`` checks all of them.

    Args:
        path: The ``.mahtrt`` folder.
        graphs: Also describe the ONNX of every precision.

    Raises:
        DataError: There is no bundle.
        IntegrityError: It was changed, or is newer than this version reads.
        ModelError: One of its graphs cannot be read.
        MissingComponentError: ``graphs`` without the onnx package.
    """
    bundle = read_bundle(path, verify=False)
    manifest = bundle.manifest
    return BundleSummary(
        schema=manifest.schema,
        created=manifest.created,
        precision=manifest.precision,
        models=manifest.models,
        engines=tuple(_engine(bundle, record) for record in manifest.engines),
        default_engine=manifest.default_engine,
        bytes=sum(record.size for record in manifest.files),
        spec=manifest.spec.to_dict(),
        versions=manifest.versions,
        host=manifest.host,
        provenance=manifest.provenance,
        calibration=manifest.calibration,
        gate=manifest.gate,
        plan=_plan(manifest.plan),
        graphs=_graphs(bundle) if graphs else {},
    )


def _engine(bundle: Bundle, record: EngineRecord) -> EngineSummary:
    sizes = {file.path: file.size for file in bundle.manifest.files}
    own = {path for role, path in record.files.items() if role != "onnx"}
    verdicts = bundle.manifest.gate.get("engines", {})
    return EngineSummary(
        name=record.name,
        target=record.target,
        precision=record.precision,
        batch=record.batch,
        is_default=record.name == bundle.manifest.default_engine,
        bytes=sum(sizes[path] for path in own or set(record.files.values())),
        files=record.files,
        device=record.device,
        versions=record.versions,
        build=getattr(record, _BUILD, {}),
        accuracy=record.accuracy,
        latency_ms=record.latency_ms,
        gate=verdicts.get(record.name, {}) if isinstance(verdicts, Mapping) else {},
        notes=tuple(record.notes),
        layers=layers_beside(bundle, record.files),
    )


def _plan(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Names of the blocks by precision, and the share of the arithmetic that is INT8 blocks'."""
    blocks = plan.get("blocks") or []
    if not blocks:
        return {}
    int8 = [block for block in blocks if block.get("precision") == "int8"]
    return {
        "int8_blocks": [block["name"] for block in int8],
        "float_blocks": {
            b["name"]: b.get("reason", "") for b in blocks if b.get("precision") != "int8"
        },
        "int8_flops_share": round(sum(b.get("flops_share", 0.0) for b in int8), 6),
    }


def _graphs(bundle: Bundle) -> dict[str, GraphSummary]:
    from mahtrt.graph.onnx_file import describe_onnx

    bundle.check(bundle.manifest.models.values())
    return {
        precision: describe_onnx(bundle.file(relative))
        for precision, relative in bundle.manifest.models.items()
    }
