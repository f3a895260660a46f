"""``build``: an exported ONNX to a bundle of engines that have been measured against PyTorch."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mahtrt
from mahtrt.benchmarks.accuracy import Verdict
from mahtrt.benchmarks.bench import reference_target
from mahtrt.benchmarks.compare import BenchOptions, Contender, compare
from mahtrt.benchmarks.machine import describe_machine, package_versions
from mahtrt.benchmarks.report import BenchReport
from mahtrt.calibration.methods import METHODS
from mahtrt.data.datasets import open_dataset
from mahtrt.data.sample import Dataset
from mahtrt.data.screening import refuse_unreal_images
from mahtrt.data.subset import Subset, Unannotated, hold_back
from mahtrt.engine.bundle import BundleWriter, check_replaceable, write_bundle
from mahtrt.engine.golden import GoldenVector, write_golden
from mahtrt.engine.graph_file import GraphFile, read_graph
from mahtrt.engine.manifest import EngineRecord, GoldenInfo, Manifest
from mahtrt.engine.options import AUTO, BuildOptions
from mahtrt.engine.quantized import Graphs, write_graphs
from mahtrt.engine.targets import TARGETS, find_target
from mahtrt.errors import GateError, MissingComponentError, ModelError, UsageError
from mahtrt.runtime.session import Session

PRECISIONS = ("fp32", "bf16", "int8")
GOLDEN_IMAGES = 3
DEFAULT_EVAL = "phantom:32@5"
# Enough to rank engines that differ by a tenth; bench measures properly.
TIMED_ROUNDS, TIMED_SECONDS = 30, 30.0

# What is being done, how much of it is done, how much there is (0 where unknown).
StageProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What was built.

    Attributes:
        path: The bundle.
        report: Accuracy and a first latency of every engine against the reference.
        verdicts: Engine name to verdict of its accuracy gate.
        skipped: Images that were left out because they cannot be read.
    """

    path: Path
    manifest: Manifest
    report: BenchReport
    verdicts: Mapping[str, Verdict]
    skipped: tuple[str, ...] = ()


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
    tell = progress or (lambda *_: None)
    targets = _targets(options)
    _check_options(options)
    check_replaceable(options.out.resolve())
    tell("reading", 0, 0)
    graph = read_graph(options.onnx)
    if not graph.spec.landmarks:
        raise ModelError(
            str(options.onnx),
            got="a network without landmarks",
            expected="landmarks to check engines by",
        )
    calib, evaluation = _data(options)
    with write_bundle(options.out) as writer, ExitStack() as stack:
        graphs = write_graphs(
            options, graph, calib, writer, lambda n, of: tell("calibrating", n, of)
        )
        reference, described = _reference(options, graph, writer, tell)
        stack.callback(reference.session.close)
        records, contenders = [], [reference]
        jobs = [(precision, target) for precision in options.precisions for target in targets]
        for done, (precision, target) in enumerate(jobs):
            tell(f"building {target}-{precision}", done, len(jobs))
            record, session = _engine(options, graph, graphs, writer, precision, target)
            stack.callback(session.close)
            records.append(record)
            contenders.append(Contender(record.name, target, precision, record.batch, session))
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
    return BuildResult(options.out, manifest, report, verdicts, tuple(dict.fromkeys(skipped)))


def _targets(options: BuildOptions) -> list[str]:
    named = [name for name in dict.fromkeys(options.targets) if name != AUTO]
    for name in named:
        find_target(name).require()
    if AUTO not in options.targets:
        return named
    found = [name for name, target in TARGETS.items() if target.installed]
    if not found:
        raise MissingComponentError(
            "build",
            got="no target installed",
            expected=f"one of {', '.join(TARGETS)}",
            fix="Run mahtrt doctor.",
        )
    return found


def _check_options(options: BuildOptions) -> None:
    unknown = [p for p in options.precisions if p not in PRECISIONS]
    if "fp16" in unknown:
        raise MissingComponentError(
            "--fp16",
            got="targets that compute on a CPU",
            expected="a target that computes in FP16 (TensorRT)",
            fix="Build --bf16 or --int8 here.",
        )
    if unknown or not options.precisions:
        raise UsageError(
            "precision", got=", ".join(unknown) or "none", expected=" or ".join(PRECISIONS)
        )
    if options.method not in METHODS:
        raise UsageError("--method", got=repr(options.method), expected=" or ".join(METHODS))
    if options.percentile is not None and not 0 < options.percentile <= 100:
        raise UsageError(
            "--percentile", got=str(options.percentile), expected="more than 0, at most 100"
        )
    if "int8" in options.precisions and options.calib is None:
        raise UsageError(
            "--int8",
            got="no calibration images",
            expected="--calib DATA",
            fix="Give some dozens of the images that the network was trained on.",
        )


def _data(options: BuildOptions) -> tuple[Subset | Dataset | None, Dataset]:
    """Images to calibrate on, and others to check engines on."""
    calib: Dataset | None = None
    if options.calib is not None:
        calib = open_dataset(options.calib, points=options.points, skip_bad=options.skip_bad)
        refuse_unreal_images(calib, source=options.calib)
    if options.eval is not None:
        return calib, open_dataset(options.eval, points=options.points, skip_bad=options.skip_bad)
    if calib is None:
        return None, Unannotated(open_dataset(DEFAULT_EVAL))
    return hold_back(calib, min(options.check_images, max(1, len(calib) // 4)))


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
    graph: GraphFile,
    graphs: Graphs,
    writer: BundleWriter,
    precision: str,
    target: str,
) -> tuple[EngineRecord, Session]:
    name = f"{target}-{precision}"
    onnx_path = writer.root / graphs.models[_graph_for(precision, target)]
    artifact = find_target(target).load_builder()(
        onnx_path, precision, writer.root / "engines" / name, threads=options.threads
    )
    record = EngineRecord(
        name=name,
        target=target,
        precision=precision,  # type: ignore[arg-type]
        files={role: writer.relative(place) for role, place in artifact.files.items()},
        batch=artifact.batch,
        device=artifact.device,
        versions=artifact.versions,
        notes=artifact.notes,
    )
    return record, _open(record, writer, graph, options)


def _graph_for(precision: str, target: str) -> str:
    """Which ONNX an engine is compiled from: native BF16 needs no rounding in the graph."""
    if precision == "bf16" and target == "openvino":
        from mahtrt.engine.openvino import has_native_bf16

        return "fp32" if has_native_bf16() else "bf16"
    return precision


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
        gate=options.gate,
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
    """The fastest engine that passed its gate; the fastest of all where none did."""
    rows = [row for row in report.rows if row.scope == "engine" and not row.is_reference]
    passed = [row for row in rows if verdicts[row.name].passed] or rows
    return min(passed, key=lambda row: row.timings.p50_ms / row.batch).name


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
            accuracy=rows[record.name].accuracy.to_dict(),
            latency_ms={
                "scope": "engine",
                "p50": round(rows[record.name].timings.p50_ms, 3),
                "p90": round(rows[record.name].timings.p90_ms, 3),
                "runs": rows[record.name].timings.runs,
            },
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
            "budgets": dataclasses.asdict(options.gate),
            "passed": all(verdict.passed for verdict in verdicts.values()),
            "engines": {name: dataclasses.asdict(verdict) for name, verdict in verdicts.items()},
        },
        golden=GoldenInfo(reference=described, images=golden) if golden else None,
    )
