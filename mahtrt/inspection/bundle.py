"""What a bundle holds: its manifest in short, its engines, and its graphs on request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mahtrt.bundle.bundle import Bundle, read_bundle
from mahtrt.bundle.manifest import EngineRecord, Manifest, as_integrity_error
from mahtrt.bundle.plan import plan_from_json, plan_name
from mahtrt.bundle.reference_statistics import ReferenceStatistics, read_reference
from mahtrt.inspection.engine_file import layers_beside
from mahtrt.monitoring.drift import smallest_shift
from mahtrt.schema import plain
from mahtrt.targets.graph_kinds import HALVES
from mahtrt.targets.layers import EngineLayers

if TYPE_CHECKING:
    from mahtrt.bundle.signature import Trust
    from mahtrt.graph.describe import GraphSummary


@dataclass(frozen=True, slots=True)
class EngineSummary:
    """One engine of a bundle.

    Attributes:
        bytes: Size of the files that are its own: the graph it was built from is not counted,
            except where the engine is that graph.
        layers: What the target noted of its layers, where it did.
    """

    record: EngineRecord
    is_default: bool
    bytes: int
    layers: EngineLayers | None = None

    def to_dict(self) -> dict[str, Any]:
        layers = None if self.layers is None else self.layers.to_dict()
        more = {"is_default": self.is_default, "bytes": self.bytes, "layers": layers}
        return {**plain(self.record), **more}


@dataclass(frozen=True, slots=True)
class PlanBlocks:
    """The precision plan in short.

    Attributes:
        int8_blocks: Names of the blocks in INT8.
        float_blocks: Name of each block in the engine's floating-point type to the reason why.
        fp32_blocks: Name of each block that stays FP32 beside it to the reason why.
        int8_flops_share: Share of the arithmetic that is in INT8 blocks.
    """

    int8_blocks: tuple[str, ...]
    float_blocks: Mapping[str, str]
    fp32_blocks: Mapping[str, str]
    int8_flops_share: float


@dataclass(frozen=True, slots=True)
class BundleSummary:
    """A bundle in short.

    Attributes:
        bytes: Size of all its files.
        plan: The plan of INT8, None in a bundle without one.
        reference: How the images of the build look; None in a bundle that does not tell.
        half_plans: The plans of half precisions, by precision.
        onnx: Name of a graph to what is inside, of those that were asked for.
    """

    manifest: Manifest
    engines: tuple[EngineSummary, ...]
    bytes: int
    plan: PlanBlocks | None = None
    half_plans: Mapping[str, PlanBlocks] = field(default_factory=dict)
    onnx: Mapping[str, GraphSummary] = field(default_factory=dict)
    reference: ReferenceStatistics | None = None

    def to_dict(self, top: int = 10) -> dict[str, Any]:
        return {
            **plain(self.manifest),
            "engines": [engine.to_dict() for engine in self.engines],
            "bytes": self.bytes,
            "plan": plain(self.plan),
            "half_plans": plain(self.half_plans),
            "reference_statistics": _reference(self.reference),
            "onnx": {name: graph.to_dict(top) for name, graph in self.onnx.items()},
        }


def describe_bundle(
    path: Path, *, graphs: bool = False, trust: Trust | None = None
) -> BundleSummary:
    """Describe a bundle from its manifest.

    The files that are read are checked against it; ``mahtrt verify`` checks all of them.

    Args:
        path: The ``.mahtrt`` folder.
        graphs: Also describe every ONNX graph.
        trust: Whose signature the bundle has to have.

    Raises:
        DataError: There is no bundle.
        IntegrityError: It was changed, or is newer than this version reads.
        ModelError: One of its graphs cannot be read.
        MissingComponentError: ``graphs`` without the onnx package.
    """
    bundle = read_bundle(path, verify=False, trust=trust)
    return BundleSummary(
        manifest=bundle.manifest,
        engines=tuple(_engine(bundle, record) for record in bundle.manifest.engines),
        bytes=sum(record.size for record in bundle.manifest.files),
        plan=_plan(bundle, "int8"),
        half_plans={p: plan for p in HALVES if (plan := _plan(bundle, p)) is not None},
        onnx=_graphs(bundle) if graphs else {},
        reference=read_reference(bundle),
    )


def _reference(found: ReferenceStatistics | None) -> dict[str, Any] | None:
    """The statistics without the values that charts are made of."""
    if found is None:
        return None
    table = plain(found)
    for row in table["statistics"]:
        del row["knots"]
    return {**table, "smallest_shift": smallest_shift(found)}


def _engine(bundle: Bundle, record: EngineRecord) -> EngineSummary:
    sizes = {file.path: file.size for file in bundle.manifest.files}
    own = {path for role, path in record.files.items() if role != "onnx"}
    return EngineSummary(
        record,
        is_default=record.name == bundle.manifest.default_engine,
        bytes=sum(sizes[path] for path in own or set(record.files.values())),
        layers=layers_beside(bundle, record),
    )


def _plan(bundle: Bundle, precision: str) -> PlanBlocks | None:
    name = plan_name(precision)
    if name not in {record.path for record in bundle.manifest.files}:
        return None
    file = bundle.file(name)
    with as_integrity_error():
        blocks = plan_from_json(file.read_bytes(), where=str(file)).blocks
    int8 = [block for block in blocks if block.precision == "int8"]
    return PlanBlocks(
        int8_blocks=tuple(block.name for block in int8),
        float_blocks={b.name: b.reason for b in blocks if b.precision == "float"},
        fp32_blocks={b.name: b.reason for b in blocks if b.precision == "fp32"},
        int8_flops_share=round(sum(block.flops_share for block in int8), 6),
    )


def _graphs(bundle: Bundle) -> dict[str, GraphSummary]:
    from mahtrt.graph.onnx_file import describe_onnx

    return {graph.name: describe_onnx(bundle.file(graph.file)) for graph in bundle.manifest.graphs}
