"""An inspection as tables for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from mahtrt.inspection.bundle import BundleSummary, EngineSummary, PlanBlocks
from mahtrt.inspection.engine_file import EngineFileSummary
from mahtrt.monitoring.drift import smallest_shift
from mahtrt.schema import plain
from mahtrt.spec import upgraded_spec
from mahtrt.targets.layers import EngineLayers
from mahtrt.verbs.rendering import Indented, line, paragraphs
from mahtrt.verbs.tables import Column, FittedTable, numbers

if TYPE_CHECKING:
    from mahtrt.bundle.records import AccuracyRecord
    from mahtrt.bundle.reference_statistics import ReferenceStatistics
    from mahtrt.graph.describe import GraphSummary, LayerCost, TensorInfo
    from mahtrt.inspection.inspect import Inspection

_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


LEGEND = (
    "precision: what a node or layer computes in.",
    "products: convolutions and matrix multiplications, which take nearly all of the time.",
    "FLOPs: arithmetic of one inference, a multiplication and an addition counted as two.",
    "weights, activations, bytes: what a layer reads and writes, and both together.",
)
ENGINES_LEGEND = (
    "*: the default engine.",
    "moved px, worst px: mean displacement of all landmarks, and of the one that moved most, in "
    "pixels of the network's input, as the build measured them.",
    "p50 ms: median time of the engine alone where it was built.",
    "gate: whether all that the engine gives was within its limits.",
)


def tables_of(inspection: Inspection, *, explain: bool = False) -> RenderableType:
    """Everything found, as renderables below each other."""
    parts: list[RenderableType] = [
        line(f"{inspection.name}: {inspection.kind}, {_size(inspection.size)}", style="bold")
    ]
    if inspection.graph is not None:
        parts += _graph(inspection.graph, inspection.top)
    if inspection.bundle is not None:
        parts += _bundle(inspection.bundle, inspection.top)
    if inspection.plan is not None:
        parts += _plan(inspection.plan)
    if explain:
        told = ENGINES_LEGEND if inspection.bundle is not None else ()
        parts.append(paragraphs((*told, *LEGEND)))
    return Group(*parts)


def _graph(graph: GraphSummary, top: int) -> list[RenderableType]:
    facts = {
        "opset": f"{graph.opset} (IR {graph.ir_version}), {graph.producer or 'producer unknown'}",
        "batch": "dynamic" if graph.batch is None else str(graph.batch),
        "inputs": _tensors(graph.inputs),
        "outputs": _tensors(graph.outputs),
        "nodes": f"{graph.nodes}: {_counts(graph.nodes_by_precision)}",
        "products": _counts(graph.products) or "none",
        "INT8 layers": str(graph.int8_layers),
        "operations": f"{_short(graph.flops)}FLOP per inference",
        **{
            name: _spec(record) if name == "spec" else _line(record)
            for name, record in graph.records.items()
        },
    }
    weights = _table(
        "weights",
        (Column("type"), *numbers("tensors", "values", "bytes")),
        [
            (group.dtype, str(group.tensors), _short(group.elements), _size(group.bytes))
            for group in graph.weights
        ],
    )
    return [
        _facts(facts),
        weights,
        _ops(graph.ops),
        _layers(f"largest {top} by FLOPs", graph.largest("flops", top)),
        _layers(f"largest {top} by bytes", graph.largest("bytes", top)),
        *_notes(graph.notes),
    ]


def _ops(ops: Mapping[str, Mapping[str, int]]) -> RenderableType:
    columns = (Column("operator"), *numbers("nodes"), Column("precision", is_prose=True))
    rows = [(op, str(sum(counts.values())), _counts(counts)) for op, counts in ops.items()]
    return _table("nodes", columns, rows)


def _layers(title: str, layers: Sequence[LayerCost]) -> RenderableType:
    columns = (
        *(Column("layer"), Column("operator"), Column("precision")),
        *numbers("FLOPs", "weights", "activations", "bytes"),
    )
    rows = [
        (
            *(layer.name, layer.op, layer.precision, _short(layer.flops)),
            *(_size(layer.weight_bytes), _size(layer.activation_bytes), _size(layer.bytes)),
        )
        for layer in layers
    ]
    return _table(title, columns, rows)


def _bundle(bundle: BundleSummary, top: int) -> list[RenderableType]:
    manifest, gate = bundle.manifest, bundle.manifest.gate
    facts = {
        "schema": manifest.schema,
        "created": f"{manifest.created} by {_pairs(manifest.versions)}",
        "built for": f"{manifest.precision}; default engine {manifest.default_engine}",
        "graphs": _pairs({graph.name: graph.file for graph in manifest.graphs}),
        "spec": _spec(plain(manifest.spec)),
        "provenance": _line(plain(manifest.source)) if manifest.provenance else "",
        "calibration": _line(plain(manifest.calibration)) if manifest.calibration else "",
        "plan": _plan_line(bundle.plan),
        **{f"plan of {p}": _half_plan_line(plan) for p, plan in bundle.half_plans.items()},
        "reference": _reference_line(bundle.reference),
        "gate": f"{'passed' if manifest.passed else 'FAILED'} against {gate.reference}"
        if gate
        else "not judged",
    }
    parts: list[RenderableType] = [_facts({k: v for k, v in facts.items() if v})]
    parts.append(_engines(bundle.engines))
    for engine in bundle.engines:
        parts += _engine_details(engine)
    for graph in manifest.graphs:
        if graph.name in bundle.onnx:
            parts += [Text(), line(f"{graph.file} ({graph.name})", style="bold")]
            parts += _graph(bundle.onnx[graph.name], top)
    return parts


def _engines(engines: Sequence[EngineSummary]) -> RenderableType:
    found = [engine.record.accuracy for engine in engines]
    moved = ("moved px", "worst px") if any(each and each.per_landmark for each in found) else ()
    columns = (
        *(Column("engine"), Column("precision"), *numbers("batch", "size", *moved)),
        *([Column("other outputs", is_prose=True)] if any(map(_others, found)) else []),
        *(*numbers("p50 ms"), Column("gate"), Column("built with", is_prose=True, is_lesser=True)),
    )
    rows = []
    for engine in engines:
        record = engine.record
        accuracy, verdict, latency = record.accuracy, record.verdict, record.latency
        px = (accuracy.mean_px, accuracy.worst_landmark_mean_px) if accuracy else (None, None)
        row = (
            record.name + (" *" if engine.is_default else ""),
            *(record.precision, str(record.batch), _size(engine.bytes)),
            *(map(_number, px) if moved else ()),
            *([_others(accuracy)] if any(map(_others, found)) else []),
            _number(latency.p50_ms if latency else None),
            "" if verdict is None else "pass" if verdict.passed else "FAIL",
            _pairs(record.versions),
        )
        rows.append(row)
    return _table("engines", columns, rows)


def _others(found: AccuracyRecord | None) -> str:
    """How far maps, logits and visibility are from the reference's."""
    if found is None:
        return ""
    said = [f"{each.name} {each.mean:.2g}, SSIM {each.ssim:.4f}" for each in found.maps]
    said += [f"{each.name} {100 * each.agreement:.1f}% same" for each in found.logits]
    said += [f"{each.name} {100 * each.agreement:.1f}% same" for each in found.visibility]
    return "; ".join(said)


def _engine_details(engine: EngineSummary) -> list[RenderableType]:
    parts: list[RenderableType] = []
    record = engine.record
    facts = {"files": _pairs(record.files), "device": _pairs(plain(record.device))}
    if record.build is not None:
        build = plain(record.build)
        facts |= {"key": _pairs(build.pop("key")), "build": _pairs(build | build.pop("facts"))}
    if any(facts.values()):
        parts += [Text(), line(record.name, style="bold")]
        parts.append(_facts({name: text for name, text in facts.items() if text}))
    if engine.layers is not None:
        parts.append(_engine_layers(engine.layers))
    reasons = record.verdict.reasons if record.verdict else ()
    return [*parts, *_notes(record.notes), *_notes(reasons)]


def _engine_layers(layers: EngineLayers) -> RenderableType:
    if not layers.detailed:
        return line(f"{len(layers.layers)} layers; built without their details")
    counts = f"{len(layers.layers)} layers: {_counts(layers.by_precision)}"
    return line(f"{counts}; {layers.int8_layers} products in INT8")


def _plan(plan: EngineFileSummary) -> list[RenderableType]:
    facts = {
        "SHA-256": plan.sha256,
        "made by": f"{plan.flavour or 'unknown'} {plan.version}".strip(),
    }
    if plan.engine is not None:
        record = {k: v for k, v in plain(plan.engine).items() if v not in ([], {}, None)}
        for name in ("name", "precision", "batch", "device", "files"):
            if name in record:
                value = record[name]
                facts[name] = _pairs(value) if isinstance(value, Mapping) else str(value)
    parts: list[RenderableType] = [_facts(facts)]
    if plan.layers is not None:
        parts.append(_engine_layers(plan.layers))
    return [*parts, *_notes(plan.notes)]


def _plan_line(plan: PlanBlocks | None) -> str:
    if plan is None:
        return ""
    share = f"{plan.int8_flops_share:.0%} of the arithmetic"
    kept = f", {len(plan.fp32_blocks)} FP32 blocks" if plan.fp32_blocks else ""
    int8 = f"{len(plan.int8_blocks)} INT8 blocks ({share})"
    return f"{int8}, {len(plan.float_blocks)} float blocks{kept}"


def _reference_line(found: ReferenceStatistics | None) -> str:
    if found is None:
        return ""
    shift = smallest_shift(found)
    told = "too few to watch drift" if shift is None else f"drift from {shift:.2f} deviations"
    count = len(found.statistics)
    return f"{count} statistics of {found.images} images through {found.engine}: {told}"


def _half_plan_line(plan: PlanBlocks) -> str:
    return f"{len(plan.fp32_blocks)} FP32 blocks, {len(plan.float_blocks)} float blocks"


def _table(title: str, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> RenderableType:
    return Group(Text(), FittedTable(columns, rows, title))


def _facts(facts: Mapping[str, str]) -> FittedTable:
    return FittedTable((Column(""), Column("", is_prose=True)), list(facts.items()))


def _notes(notes: Iterable[str]) -> list[RenderableType]:
    return [Indented(line(f"note: {note}", style="yellow"), 0, 2) for note in notes]


def _tensors(tensors: Iterable[TensorInfo]) -> str:
    return ", ".join(f"{t.name} {t.dtype} {'x'.join(map(str, t.shape))}" for t in tensors)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _pairs(table: Mapping[str, Any]) -> str:
    shown = {k: v for k, v in table.items() if v not in (None, "", [], (), {})}
    return ", ".join(f"{name} {_value(value)}" for name, value in shown.items())


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({_pairs(value)})"
    if isinstance(value, (list, tuple)):
        return " ".join(map(_value, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _line(record: Any) -> str:
    """A record in short: its plain fields; nested ones are named with their length."""
    if not isinstance(record, Mapping):
        return str(record)
    plain = []
    for name, value in record.items():
        if isinstance(value, (Mapping, list, tuple)):
            plain += [f"{name} ({len(value)})"] if value else []
        elif value not in (None, ""):
            plain.append(f"{name} {_value(value)}")
    return ", ".join(plain)


def _spec(spec: Any) -> str:
    """What goes in and what comes out; the whole spec is in the JSON."""
    try:
        images = [_input(image) for image in upgraded_spec(spec)["inputs"]]
        count, method = len(spec["landmarks"]), spec["decode"]["method"]
        found = [f"{count} landmarks by {method}"] if count else []
        found += [
            o["kind"] for o in spec["outputs"] if o["kind"] in ("visibility", "map", "logits")
        ]
        return f"{spec['family']}: {'; '.join(images)}; {', '.join(found) or method}"
    except (KeyError, TypeError):  # of another tool, or damaged: shown as it is
        return _line(spec)


def _input(image: Any) -> str:
    size = "x".join(map(str, image["size"]))
    return (
        f"{image['name']} {size} {image['color_order']}, {image['resize']}, mean "
        f"{_value(image['mean'])}, std {_value(image['std'])}"
    )


def _number(value: Any) -> str:
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _size(count: int) -> str:
    return f"{_short(count)}B"


def _short(value: float) -> str:
    """Three digits and a decimal prefix: 239123456 -> "239 M"."""
    for unit, prefix in _UNITS:
        if value >= unit:
            return f"{value / unit:.3g} {prefix}"
    return f"{value:g} "
