"""``build``: an exported ONNX to a bundle of engines that have been measured against PyTorch."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import mahtrt
from mahtrt.benchmarks.compare import Contender, compare
from mahtrt.benchmarks.options import BenchOptions
from mahtrt.benchmarks.report import BenchReport
from mahtrt.build.options import AUTO, AUTO_PLAN, BuildOptions, check_calibration
from mahtrt.build.quantized import (
    INT8_FLOATS,
    Graphs,
    graph_for,
    weight_bits_for,
    write_graphs,
)
from mahtrt.build.stand_in import open_stand_in
from mahtrt.bundle.bundle import BundleWriter, check_replaceable, write_bundle
from mahtrt.bundle.golden import GoldenVector, write_golden
from mahtrt.bundle.manifest import EngineRecord, GoldenInfo, Manifest
from mahtrt.data.datasets import open_dataset
from mahtrt.data.sample import Dataset
from mahtrt.data.screening import refuse_unreal_images
from mahtrt.data.subset import NetworkTensors, Subset, Unannotated, hold_back, spread_out
from mahtrt.errors import GateError, MissingComponentError, ModelError, UsageError
from mahtrt.graph.graph_file import GraphFile, read_graph
from mahtrt.machine import describe_machine, package_versions
from mahtrt.measure.limits import Verdict
from mahtrt.measure.timing import Timings
from mahtrt.runtime.session import Session
from mahtrt.targets.reference import reference_target
from mahtrt.targets.targets import TARGETS, find_target
from mahtrt.targets.tensorrt.cache import cache_folder
from mahtrt.targets.tensorrt.options import TensorRtOptions

if TYPE_CHECKING:
    from mahtrt.build.planned import Planned

PRECISIONS = ("fp32", "fp16", "bf16", "int8")
GOLDEN_IMAGES = 3
DEFAULT_EVAL = "phantom:32@5"
# Enough to rank engines that differ by a tenth; bench measures properly.
TIMED_ROUNDS, TIMED_SECONDS = 30, 60.0

# FP16 overflows in one image or in none: its range is the network's more than the image's.
FINITE_IMAGES = 2


class StageProgress(Protocol):
    """Told what is being done, how much of it is done, how much there is (0 where unknown)."""

    def __call__(self, stage: str, done: int, total: int, detail: str = "") -> None: ...


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What was built.

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


class AccuracyError(GateError):
    """An engine moved landmarks more than its budget allows."""

    def __init__(self, reasons: Mapping[str, Sequence[str]], report: BenchReport) -> None:
        text = "; ".join(f"{name}: {', '.join(why)}" for name, why in reasons.items())
        super().__init__(
            "accuracy gate",
            got=text,
            expected="every engine within its budget",
            fix="No bundle was written; see --keep-failed, --budget-px and --plan.",
        )
        self.report = report


def build(options: BuildOptions, progress: StageProgress | None = None) -> BuildResult:
    """Build engines, check each against the reference, and write the bundle.

    Raises:
        UsageError: Options that contradict each other, or a place that cannot be replaced.
        ModelError: The ONNX is not an export of mahtrt.
        DataError: Calibration data that are missing, empty, random or constant.
        BuildError: A target refuses the graph.
        AccuracyError: An engine is over its accuracy budget (exit 3); no bundle is left.
        MissingComponentError: A package for a target or a precision is not installed.
    """
    tell = progress or _silent
    targets = _targets(options)
    _check_options(options)
    jobs = _jobs(options, targets)
    check_replaceable(options.out.resolve())
    tell("reading", 0, 0)
    graph = read_graph(options.onnx)
    if not graph.spec.landmarks:
        raise ModelError(
            str(options.onnx),
            got="a network without landmarks",
            expected="landmarks to check engines by",
        )
    calib, evaluation = _data(options, tell)
    with write_bundle(options.out) as writer, ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        planned = _plan(options, graph, calib, targets, tell)
        if planned is not None and not planned.result.uses_int8:
            instead = planned.result.float_precision
            options = dataclasses.replace(options, precisions=_without_int8(options, instead))
            jobs = _jobs(options, targets)
        names = [graph_for(p, target, options.int8_float) for p, target in jobs]
        if any("fp16" in name for name in names):
            tell("checking FP16", 0, 0)
            from mahtrt.precision.check import check_half

            few = NetworkTensors(spread_out(evaluation, FINITE_IMAGES), graph.spec.input)
            check_half(graph, few, options.threads)
        graphs = write_graphs(options, graph, calib, writer, names, scratch, tell, planned)
        reference, described = _reference(options, graph, writer, tell)
        stack.callback(reference.session.close)
        records, contenders = [], [reference]
        for done, (precision, target) in enumerate(jobs):
            stage = f"building {target}-{precision}"
            tell(stage, done, len(jobs))
            record = _engine(
                options,
                graphs,
                writer,
                precision,
                target,
                functools.partial(tell, stage, done, len(jobs)),
            )
            stand_in = graphs.stand_ins.get(graph_for(precision, target, options.int8_float))
            contender = _contender(options, graph, writer, record, scratch, stand_in)
            stack.callback(contender.session.close)
            records.append(record)
            contenders.append(contender)
        report = _measure(options, contenders, evaluation, described, tell)
        verdicts = _verdicts(report)
        report = _with_default(report, _default_engine(report, verdicts))
        failed = {name: v.reasons for name, v in verdicts.items() if not v.passed}
        if failed and not options.keep_failed:
            raise AccuracyError(failed, report)
        tell("writing", 0, 0)
        golden = _write_golden(writer, reference.session, evaluation) if options.golden else 0
        writer.place("report.json").write_text(
            json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8"
        )
        manifest = writer.finish(
            _manifest(options, graph, graphs, records, report, verdicts, described, golden)
        )
    skipped = [name for data in (calib, evaluation) for name in getattr(data, "skipped", ())]
    notes = [*graphs.notes, *(f"{r.name}: {note}" for r in records for note in _told(r))]
    return BuildResult(
        options.out, manifest, report, verdicts, tuple(dict.fromkeys(skipped)), tuple(notes)
    )


def _told(record: EngineRecord) -> Iterator[str]:
    """What the user should know of an engine that was built."""
    built = record.build
    if built:
        how = "from the cache, built in" if built["cached"] else "built in"
        size, memory = built["plan_bytes"] / 2**20, built["peak_memory_mib"]
        peak = f", at most {memory} MiB of memory" if memory else ""
        yield (
            f"{how} {built['seconds']:.1f} s{peak}; {size:.1f} MiB for "
            f"{', '.join(record.device['compute_capabilities'])}; timing cache "
            f"{built['timing_cache']}"
        )
    yield from record.notes


def _silent(stage: str, done: int, total: int, detail: str = "") -> None:
    pass


def _targets(options: BuildOptions) -> list[str]:
    named = [name for name in dict.fromkeys(options.targets) if name != AUTO]
    for name in named:
        find_target(name).require()
    if AUTO not in options.targets:
        return named
    found = [name for name, target in TARGETS.items() if target.runs_here]
    if not found:
        raise MissingComponentError(
            "build",
            got="no target installed",
            expected=f"one of {', '.join(TARGETS)}",
            fix="Run mahtrt doctor.",
        )
    return list(dict.fromkeys((*found, *named)))


def _plan(
    options: BuildOptions,
    graph: GraphFile,
    calib: Dataset | None,
    targets: Sequence[str],
    tell: StageProgress,
) -> Planned | None:
    """The planner's plan, where that is asked for."""
    if options.plan != AUTO_PLAN or "int8" not in options.precisions:
        return None
    from mahtrt.build.planned import plan_for, planning_target

    assert calib is not None
    target = planning_target(targets, options.tensorrt)
    return plan_for(
        graph,
        calib,
        options.calibration,
        target=target,
        limits=options.limits,
        minutes=options.plan_minutes,
        weight_bits=weight_bits_for(
            graph_for("int8", target, options.int8_float), options.weight_bits
        ),
        cache=cache_folder(options.tensorrt.cache_dir) if options.tensorrt.cache else None,
        int8_float=options.int8_float,
        tensorrt=options.tensorrt,
        seed=options.seed,
        tell=tell,
    )


def _without_int8(options: BuildOptions, instead: str) -> tuple[str, ...]:
    """What is built where INT8 does not pay: the float type it was raced against in its place."""
    return tuple(dict.fromkeys(instead if p == "int8" else p for p in options.precisions))


def _jobs(options: BuildOptions, targets: Sequence[str]) -> list[tuple[str, str]]:
    """Precision and target of every engine; those that a target does not compute in are left out.

    Raises:
        MissingComponentError: No target computes in one of the precisions.
        UsageError: Options of TensorRT that make no sense, or no TensorRT to give them to.
    """
    able = {
        precision: [name for name in targets if precision in find_target(name).precisions]
        for precision in options.precisions
    }
    for precision, names in able.items():
        if not names:
            others = [name for name, target in TARGETS.items() if precision in target.precisions]
            raise MissingComponentError(
                f"--{precision}",
                got=f"target {', '.join(targets)}",
                expected=f"one that computes in {precision.upper()} ({', '.join(others)})",
                fix="Add it with --target, or build another precision.",
            )
    typed = [name for name in targets if find_target(name).typed]
    for name in typed:
        from mahtrt.targets.tensorrt.build import check_request

        check_request(name, options.tensorrt)  # type: ignore[arg-type]
    # The cache keeps sensitivities too, whatever the target.
    kept = TensorRtOptions(cache=options.tensorrt.cache, cache_dir=options.tensorrt.cache_dir)
    if not typed and options.tensorrt != kept:
        raise UsageError(
            "options for TensorRT",
            got=f"target {', '.join(targets)}",
            expected="--target tensorrt or --target tensorrt-rtx",
        )
    return [(precision, name) for precision, names in able.items() for name in names]


def _check_options(options: BuildOptions) -> None:
    unknown = [p for p in options.precisions if p not in PRECISIONS]
    if unknown or not options.precisions:
        raise UsageError(
            "precision", got=", ".join(unknown) or "none", expected=" or ".join(PRECISIONS)
        )
    if options.int8_float not in INT8_FLOATS:
        expected = " or ".join(INT8_FLOATS)
        raise UsageError("--int8-float", got=repr(options.int8_float), expected=expected)
    check_calibration(options.calibration)
    if not options.plan_minutes > 0:
        raise UsageError("--plan-minutes", got=str(options.plan_minutes), expected="more than 0")
    if options.plan is not None and "int8" not in options.precisions:
        raise UsageError(
            "--plan", got="no --int8", expected="--int8: a plan says what becomes INT8"
        )
    if "int8" in options.precisions and options.calib is None:
        raise UsageError(
            "--int8",
            got="no calibration images",
            expected="--calib DATA",
            fix="Give some dozens of the images that the network was trained on.",
        )


def _data(options: BuildOptions, tell: StageProgress) -> tuple[Subset | Dataset | None, Dataset]:
    """Images to calibrate on, and others to check engines on."""
    calib: Dataset | None = None
    if options.calib is not None:
        calib = open_dataset(options.calib, points=options.points, skip_bad=options.skip_bad)
        refuse_unreal_images(calib, source=options.calib)
    if options.eval is not None:
        given: Dataset = open_dataset(
            options.eval, points=options.points, skip_bad=options.skip_bad
        )
        # Evenly spread: the first of a sorted folder may all be one patient's.
        given = spread_out(given, max(options.check_images, GOLDEN_IMAGES)) if len(given) else given
        if calib is not None:
            _keep_apart(calib, given, tell)
        return calib, given
    if calib is None:
        return None, Unannotated(open_dataset(DEFAULT_EVAL))
    rest, held = hold_back(calib, min(options.check_images, max(1, len(calib) // 4)))
    _keep_apart(rest, held, tell)
    return rest, held


def _keep_apart(calib: Dataset, evaluation: Dataset, tell: StageProgress) -> None:
    from mahtrt.calibration.card import refuse_overlap

    refuse_overlap(
        calib, evaluation, progress=lambda n, of: tell("comparing calibration and check", n, of)
    )


def _reference(
    options: BuildOptions, graph: GraphFile, writer: BundleWriter, tell: StageProgress
) -> tuple[Contender, str]:
    """PyTorch where its weights and code are at hand, else the FP32 export."""
    from mahtrt.models.reference import find_reference

    tell("opening the reference", 0, 0)
    try:
        found = find_reference(
            graph.spec,
            graph.source,
            checkpoint=options.reference,
            model=options.model,
            folders=(options.onnx.resolve().parent, Path.cwd()),
            batch=graph.batch,
        )
    except MissingComponentError:
        if options.reference or options.model:
            raise
        found = None
    if found is not None:
        backend, weights = found
        if options.threads is not None:
            import torch

            torch.set_num_threads(options.threads)
        session = Session(backend, graph.spec)
        versions = package_versions()
        described = f"PyTorch {versions.get('torch', '')} eager fp32 ({weights})"
        return _as_reference("pytorch", session), described
    target = reference_target()
    record = EngineRecord("reference", target, "fp32", {"onnx": "model.onnx"}, graph.batch)
    parity = graph.parity.get("rows", [])
    worst = max(
        (row.get("max_abs", 0.0) for row in parity if row["kind"] == "landmarks"), default=None
    )
    known = f", {worst:.2g} px from PyTorch at export" if worst is not None else ""
    return _as_reference(target, _open(record, writer, graph, options)), (
        f"the FP32 export through {target}{known}; PyTorch weights were not at hand"
    )


def _as_reference(backend: str, session: Session) -> Contender:
    return Contender("reference", backend, "fp32", session.batch, session, is_reference=True)


def _engine(
    options: BuildOptions,
    graphs: Graphs,
    writer: BundleWriter,
    precision: str,
    target: str,
    progress: Callable[[str], None],
) -> EngineRecord:
    name, kind = f"{target}-{precision}", find_target(target)
    onnx_path = writer.root / graphs.models[graph_for(precision, target, options.int8_float)]
    more = {"options": options.tensorrt, "progress": progress} if kind.typed else {}
    artifact = kind.load_builder()(
        onnx_path, precision, writer.root / "engines" / name, threads=options.threads, **more
    )
    if precision == "int8" and "layers" in artifact.files:
        _check_layers(onnx_path, writer.root / "plan.json", artifact.files["layers"])
    return EngineRecord(
        name=name,
        target=target,
        precision=precision,  # type: ignore[arg-type]
        files={role: writer.relative(place) for role, place in artifact.files.items()},
        batch=artifact.batch,
        device=artifact.device,
        versions=artifact.versions,
        notes=artifact.notes,
        build=artifact.build,
    )


def _check_layers(onnx_path: Path, plan: Path, layers: Path) -> None:
    """Hold the engine inspector's layers against the plan; raises GateError without INT8."""
    import onnx

    from mahtrt.calibration.int8_check import check_int8
    from mahtrt.calibration.plan import load_plan
    from mahtrt.graph.describe import describe_graph

    inspector = json.loads(layers.read_text(encoding="utf-8"))
    check_int8(describe_graph(onnx.load(onnx_path)), load_plan(plan), inspector)


def _contender(
    options: BuildOptions,
    graph: GraphFile,
    writer: BundleWriter,
    record: EngineRecord,
    scratch: Path,
    stand_in: Path | None,
) -> Contender:
    """An engine ready to be judged, or its stand-in where it is for another machine."""
    if find_target(record.target).needs_gpu and record.device.get("gpu") is None:
        place = stand_in or writer.root / record.files["onnx"]
        session, what = open_stand_in(record, graph, place, scratch, options.threads)
    else:
        session, what = _open(record, writer, graph, options), ""
    return Contender(
        record.name, record.target, record.precision, record.batch, session, stand_in=what
    )


def _open(
    record: EngineRecord, writer: BundleWriter, graph: GraphFile, options: BuildOptions
) -> Session:
    backend = (
        find_target(record.target)
        .load_backend()
        .open(
            record,
            {role: writer.root / relative for role, relative in record.files.items()},
            graph.spec,
            threads=options.threads,
        )
    )
    return Session(backend, graph.spec, record)


def _measure(
    options: BuildOptions,
    contenders: Sequence[Contender],
    evaluation: Dataset,
    described: str,
    tell: StageProgress,
) -> BenchReport:
    bench_options = BenchOptions(
        images=min(options.check_images, len(evaluation)),
        rounds=TIMED_ROUNDS,
        max_seconds=TIMED_SECONDS,
        latency_budget_ms=None,  # bench judges latency
        limits=options.limits,
    )
    return compare(
        contenders,
        evaluation,
        bench_options,
        reference=described,
        threads=options.threads,
        progress=lambda done, of: tell("checking engines", done, of),
    )


def _verdicts(report: BenchReport) -> dict[str, Verdict]:
    return {row.name: row.gate for row in report.rows if row.gate is not None}


def _default_engine(report: BenchReport, verdicts: Mapping[str, Verdict]) -> str:
    """The fastest engine that passed its gate; of those that cannot run here, the last.

    Where none passed, the fastest of all. Engines are built in the order of precisions, from FP32
    to INT8, so the last is what the user came for.
    """
    rows = [row for row in report.rows if row.scope == "engine" and not row.is_reference]
    passed = [row for row in rows if verdicts[row.name].passed] or rows
    timed = {row.name: row.timings.p50_ms / row.batch for row in passed if row.timings}
    return min(timed, key=timed.__getitem__) if timed else passed[-1].name


def _with_default(report: BenchReport, name: str) -> BenchReport:
    rows = tuple(dataclasses.replace(row, is_default=row.name == name) for row in report.rows)
    return dataclasses.replace(report, rows=rows)


def _write_golden(writer: BundleWriter, reference: Any, evaluation: Dataset) -> int:
    vectors = []
    for index in range(min(GOLDEN_IMAGES, len(evaluation))):
        sample = evaluation[index]
        found = reference.run(sample.image)
        vectors.append(GoldenVector(sample.name, sample.image, found.points, sample.spacing_mm))
    write_golden(writer.place("golden.npz"), vectors)
    return len(vectors)


def _latency(timings: Timings | None) -> dict[str, Any]:
    if timings is None:
        return {}
    p50, p90 = round(timings.p50_ms, 3), round(timings.p90_ms, 3)
    return {"scope": "engine", "p50": p50, "p90": p90, "runs": timings.runs}


def _manifest(
    options: BuildOptions,
    graph: GraphFile,
    graphs: Graphs,
    records: Sequence[EngineRecord],
    report: BenchReport,
    verdicts: Mapping[str, Verdict],
    described: str,
    golden: int,
) -> Manifest:
    rows = {row.name: row for row in report.rows if row.scope == "engine"}
    engines = tuple(
        dataclasses.replace(
            record,
            accuracy={
                "measured_on": rows[record.name].measured_on,
                **rows[record.name].accuracy.to_dict(),
            },
            latency_ms=_latency(rows[record.name].timings),
        )
        for record in records
    )
    return Manifest(
        spec=graph.spec,
        precision=options.precisions[-1],  # type: ignore[arg-type]
        models=graphs.models,
        engines=engines,
        default_engine=next(row.name for row in report.rows if row.is_default),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        versions={"mahtrt": mahtrt.__version__, **package_versions()},
        host=describe_machine().to_dict(),
        provenance={**graph.source, "onnx_sha256": graph.sha256, "parity": dict(graph.parity)},
        plan=graphs.plan,
        calibration=graphs.calibration,
        gate={
            "reference": described,
            "budgets": options.limits.to_dict(),
            "passed": all(verdict.passed for verdict in verdicts.values()),
            "engines": {
                name: {
                    **dataclasses.asdict(verdict),
                    "measured_on": rows[name].measured_on,
                }
                for name, verdict in verdicts.items()
            },
        },
        golden=GoldenInfo(reference=described, images=golden) if golden else None,
    )
