"""How far engines are from what this machine's large products reach, in the same rounds.

After Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for
multicore architectures" (2009), with the roof measured instead of taken from a data sheet: large
convolutions and matrix products, one behind the other, run through the engine's own runtime with
the engine's threads, interleaved with the engines. The best of them in a precision is its limit.
The floor of an engine is the time that its products would take at these limits, each in the
precision that it computes in; what is not a product (activations, resizing, memory) has no floor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mahtrt import files
from mahtrt.benchmarks.measures import MachineLimit, Roofline, RooflineRow
from mahtrt.bundle.bundle import Bundle
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.errors import MahtrtError, require
from mahtrt.scratch import temporary_folder
from mahtrt.spec import DecodeSpec, InputSpec, ModelSpec, OutputSpec
from mahtrt.targets.backend import EngineToOpen
from mahtrt.targets.table import find_target
from mahtrt.targets.target import EngineOptions, Target

if TYPE_CHECKING:
    from mahtrt.benchmarks.compare import Contender
    from mahtrt.benchmarks.report import BenchReport
    from mahtrt.graph.index import GraphIndex
    from mahtrt.graph.repeated import Large
    from mahtrt.targets.backend import Backend

# A runtime with so many threads; None where it chose their number.
Setting = tuple[str, int | None]


@dataclass(frozen=True, slots=True)
class Probe:
    """A large operation that is timed beside the engines.

    Attributes:
        flop: Operations of a call.
        call: Does it once.
    """

    setting: Setting
    precision: str
    operation: str
    flop: float
    call: Callable[[], object]

    @property
    def name(self) -> str:
        """Unique among probes, and not the name of an engine."""
        runtime, threads = self.setting
        return f"limit of {runtime}, {threads} threads: {self.precision} {self.operation}"


@dataclass(frozen=True, slots=True)
class Roof:
    """Everything that is known before the rounds.

    Attributes:
        flop: Engine to the operations of a call, by precision.
        settings: Engine to what it is measured against.
    """

    probes: tuple[Probe, ...] = ()
    flop: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    settings: Mapping[str, Setting] = field(default_factory=dict)
    gflop_per_image: float = 0.0
    warnings: list[str] = field(default_factory=list)

    @property
    def calls(self) -> dict[str, Callable[[], object]]:
        """What is timed beside the engines, by name."""
        return {probe.name: probe.call for probe in self.probes}

    def onto(self, report: BenchReport) -> BenchReport:
        """The report with its roofline, of the rounds that it was made from."""
        if not self.probes:
            return replace(report, warnings=(*report.warnings, *self.warnings))
        limits = tuple(_limit(probe, report) for probe in self.probes)
        rows, missed = _rows(self, limits, report)
        measures = replace(report.measures, roofline=Roofline(limits, self.gflop_per_image, rows))
        warnings = (*report.warnings, *self.warnings, *missed)
        return replace(report, measures=measures, warnings=warnings)


def raise_roof(bundle: Bundle, contenders: Sequence[Contender], stack: ExitStack) -> Roof:
    """Make and open what engines are measured against.

    Args:
        contenders: Of any kind; only engines of the bundle on a CPU have a row.
        stack: Closes what is opened.

    Raises:
        MissingComponentError: The onnx package is not installed.
    """
    require("onnx", extra="export", needed_for="--roofline")
    from mahtrt.graph.index import GraphIndex
    from mahtrt.graph.repeated import LARGEST, dominating

    records = {each.name: each for each in bundle.manifest.engines}
    engines = [each for each in contenders if each.name in records and not each.stand_in]
    on_cpu = [each for each in engines if each.device == "cpu"]
    warnings = [f"{e.name} has no roofline: it runs on a GPU" for e in engines if e not in on_cpu]
    if not on_cpu:
        return Roof(warnings=warnings)
    graphs: dict[str, GraphIndex] = {}
    flop = {each.name: _flop(bundle, records[each.name], graphs) for each in on_cpu}
    settings = {each.name: (each.backend, each.session.threads) for each in on_cpu}
    exported = bundle.manifest.graph("fp32") or bundle.manifest.graphs[0]
    if exported.file not in graphs:
        graphs[exported.file] = GraphIndex(_load(bundle, exported.file), allow_quantized=True)
    whole = graphs[exported.file]
    operations = tuple(dict.fromkeys((LARGEST, *dominating(whole))))
    probes = [
        probe
        for setting in dict.fromkeys(settings.values())
        for probe in _probes(setting, operations, stack, warnings)
    ]
    total = _total(whole) / exported.batch
    return Roof(tuple(probes), flop, settings, total / 1e9, warnings)


def _load(bundle: Bundle, file: str) -> Any:
    from mahtrt.graph.graph_file import load_onnx

    return load_onnx(bundle.file(file))


def _total(graph: GraphIndex) -> int:
    from mahtrt.graph.flops import flops_by_node

    return sum(flops_by_node(graph).values())


def _flop(bundle: Bundle, record: EngineRecord, graphs: dict[str, GraphIndex]) -> Mapping[str, int]:
    """Operations of a call of an engine, by precision."""
    from mahtrt.graph.index import GraphIndex
    from mahtrt.graph.work import flop_by_precision

    file = record.files["onnx"]
    if file not in graphs:
        graphs[file] = GraphIndex(_load(bundle, file), allow_quantized=True)
    native = record.device.inference_precision == "bf16" and _multiplies_bf16(record.target)
    return flop_by_precision(graphs[file], "bf16" if native else "fp32")


def _multiplies_bf16(target: str) -> bool:
    """Whether the target's runtime takes BF16 products on this machine for what they are."""
    return find_target(target).float_type("bf16") == "bf16"


def _probes(
    setting: Setting, operations: Sequence[Large], stack: ExitStack, warnings: list[str]
) -> list[Probe]:
    """Every operation in every precision that the runtime has kernels for."""
    from mahtrt.graph.repeated import repeats_of

    runtime, threads = setting
    target, found = find_target(runtime), []
    known = ("fp32", *(["bf16"] if _multiplies_bf16(runtime) else []), "int8")
    for precision in (each for each in known if each in target.precisions):
        for operation in operations:
            try:
                backend = _open(target, operation, precision, threads)
            except MahtrtError as error:
                warnings.append(f"{runtime} has no limit of {precision} {operation}: {error}")
                continue
            stack.callback(backend.close)
            flop = float(operation.flop * repeats_of(operation))
            call = _call(backend, operation)
            found.append(Probe(setting, precision, str(operation), flop, call))
    return found


def _open(target: Target, operation: Large, precision: str, threads: int | None) -> Backend:
    """The repeated operation through the target, as an engine would be."""
    from mahtrt.graph.repeated import INPUT, OUTPUT, repeated_graph

    graph = repeated_graph(operation, int8=precision == "int8")
    _, channels, height, width = operation.shape
    spec = ModelSpec(
        family="repeated",
        inputs=(InputSpec((height, width), INPUT, channels),),
        outputs=(OutputSpec(OUTPUT, "logits"),),
        decode=DecodeSpec("none"),
    )
    with temporary_folder() as folder:
        place = folder / "repeated.onnx"
        files.write_bytes(place, graph.SerializeToString())
        options = EngineOptions(threads=threads, trial=True, cache=False)
        artifact = target.build(place, precision, folder / "engine", options)
        record = artifact.record(target.name, precision)
        made: dict[str, Path] = dict(artifact.files)
        return target.open(EngineToOpen(record, made, spec, threads))


def _call(backend: Backend, operation: Large) -> Callable[[], object]:
    from mahtrt.graph.repeated import INPUT

    rng = np.random.default_rng(0)
    feed = {INPUT: rng.random(operation.shape, np.float32)}
    return lambda: backend.infer(feed)


def _limit(probe: Probe, report: BenchReport) -> MachineLimit:
    runtime, threads = probe.setting
    reached = probe.flop / report.beside[probe.name].p50_ms / 1e6
    return MachineLimit(runtime, probe.precision, probe.operation, reached, threads)


def _rows(
    roof: Roof, limits: Sequence[MachineLimit], report: BenchReport
) -> tuple[tuple[RooflineRow, ...], list[str]]:
    """A row per engine, and a warning for each that has none."""
    best: dict[tuple[Setting, str], float] = {}
    for each in limits:
        key = (each.runtime, each.threads), each.precision
        best[key] = max(best.get(key, 0.0), each.gflops_per_s)
    rows, missed = [], []
    for row in report.rows:
        if row.scope != "engine" or row.name not in roof.flop or row.timings is None:
            continue
        flop, setting = roof.flop[row.name], roof.settings[row.name]
        unknown = [precision for precision in flop if (setting, precision) not in best]
        if unknown:
            missed.append(f"{row.name} has no roofline: no limit of {', '.join(unknown)}")
            continue
        floor_ms = sum(count / best[setting, which] / 1e6 for which, count in flop.items())
        p50_ms = row.timings.p50_ms
        rows.append(RooflineRow(row.name, row.precision, p50_ms, floor_ms, floor_ms / p50_ms))
    return tuple(rows), missed
