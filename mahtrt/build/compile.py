"""``compile``: engines for this host from the graphs of a bundle.

A bundle holds the graph of every precision it was built with, so another host needs neither
PyTorch, the onnx package nor calibration images to get engines of its own: it compiles the graphs,
and holds the engines against the landmarks that the reference gave for the golden images.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mahtrt import files
from mahtrt.benchmarks.compare import Contender
from mahtrt.benchmarks.golden import GoldenImages, RecordedLandmarks
from mahtrt.benchmarks.reference import Reference
from mahtrt.build.engines import BuiltEngine, compile_engines
from mahtrt.build.judge import GateSettings, Judged, judge_contenders, replays_of
from mahtrt.build.options import EngineBuild
from mahtrt.build.records import gate_record, measured_engine, with_usual_spreads
from mahtrt.build.reference import export_as_reference
from mahtrt.build.request import Job
from mahtrt.build.result import BuildResult, made_here, notes_of, report_text
from mahtrt.build.workspace import Workspace, open_workspace
from mahtrt.bundle.bundle import Bundle, check_apart, check_replaceable, read_bundle, write_bundle
from mahtrt.bundle.golden import copy_golden, read_golden
from mahtrt.bundle.manifest import SCHEMA, GraphRecord
from mahtrt.bundle.plan import plan_name
from mahtrt.bundle.records import AccuracyRecord
from mahtrt.bundle.reference_statistics import copy_reference
from mahtrt.bundle.signature import Trust, notes_on_signature
from mahtrt.data.datasets import open_dataset
from mahtrt.data.sample import Dataset
from mahtrt.data.subset import spread_out
from mahtrt.errors import DataError, MissingComponentError, UsageError
from mahtrt.measure.limits import Limits
from mahtrt.progress import StageProgress, silent
from mahtrt.targets.graph_kinds import FLOAT_TYPES, follows_plan
from mahtrt.targets.table import check_options, find_target
from mahtrt.targets.target import Target


@dataclass(frozen=True, slots=True)
class CompileOptions(EngineBuild):
    """What to compile, beside the options that a build has too.

    Attributes:
        bundle: The ``.mahtrt`` folder whose graphs are compiled.
        target: Name of the target.
        out: The bundle to write; None is the bundle's name with the target's in it.
        eval: DATA to check engines on, beside the golden images.
        check_images: Number of images of ``eval`` to check engines on.
        trust: Whose signature the bundle has to have; None asks for none.
    """

    bundle: Path
    target: str
    out: Path | None = None
    eval: str | None = None
    check_images: int = 32
    trust: Trust | None = None

    @property
    def place(self) -> Path:
        """The bundle to write."""
        named = self.bundle.with_name(f"{self.bundle.stem}.{self.target}{self.bundle.suffix}")
        return self.out or named


def compile(options: CompileOptions, progress: StageProgress = silent) -> BuildResult:
    """Compile the graphs of a bundle for this host, check the engines, and write a bundle.

    Engines are held to the limits of the bundle's build: on its golden images, and on ``eval``
    against the bundle's FP32 graph.

    Raises:
        UsageError: The bundle has no graph that the target compiles, the place to write is the
            bundle itself, or ``eval`` is given and the bundle has no FP32 graph to compare with.
        DataError: There is no bundle, or nothing to check engines on.
        IntegrityError: The bundle was changed, or is newer than this version reads.
        BuildError: The target refuses a graph.
        AccuracyError: An engine is over its limits (exit 3); no bundle is left.
        MissingComponentError: The target does not run on this machine.
    """
    target = find_target(options.target)
    check_apart(options.bundle, options.place)
    check_replaceable(options.place.resolve())
    progress("hashing, MiB", 0, 0)
    bundle = read_bundle(
        options.bundle, trust=options.trust, progress=partial(progress, "hashing, MiB")
    )
    graphs = _graphs(bundle, target)
    _check_target(target, options)
    data = _data(bundle, options)
    with open_workspace(options.place) as work:
        for file in dict.fromkeys(graph.file for graph in bundle.manifest.graphs):
            files.make_folders((work.bundle / file).parent)
            bundle.file(file).copy_to(work.bundle / file)
        jobs = [(job, work.bundle / graph.file) for job, graph in graphs]
        engines = compile_engines(jobs, options.engine, work, progress)
        judged = _judge(bundle, engines, data, options, progress)
        progress("writing", 0, 0)
        return _write(bundle, engines, judged, options, work)


def _check_target(target: Target, options: CompileOptions) -> None:
    finding = target.finding()
    if not finding.able:
        raise MissingComponentError(
            f"target {target.name}",
            got=finding.detail,
            expected="a target whose engines run on this machine",
            fix=finding.fix,
        )
    check_options([target.name], options.engine)


def _graphs(bundle: Bundle, target: Target) -> list[tuple[Job, GraphRecord]]:
    """Engines that can be compiled, in the precisions of the bundle's engines, with their graphs.

    Raises:
        UsageError: There is none; the message names the option of a build that makes the graph.
    """
    found = [
        (Job(precision, target.name), graph)
        for precision in _precisions(bundle, target)
        if (graph := _graph(bundle, target, precision))
    ]
    if not found:
        graphs = ", ".join(graph.name for graph in bundle.manifest.graphs)
        raise UsageError(
            f"compile for target {target.name}",
            got=f"a bundle with the graphs {graphs}",
            expected=f"the graph of {', '.join(_missing(bundle, target)) or 'a precision'} as "
            f"{target.name} compiles it",
            fix=_build_option(bundle, _missing(bundle, target), target),
        )
    return found


def _precisions(bundle: Bundle, target: Target) -> list[str]:
    """Precisions of the bundle's engines that the target computes in."""
    built = dict.fromkeys(engine.precision for engine in bundle.manifest.engines)
    return [precision for precision in built if precision in target.precisions]


def _missing(bundle: Bundle, target: Target) -> list[str]:
    """Those of them whose graph is not in the bundle."""
    return [p for p in _precisions(bundle, target) if not _graph(bundle, target, p)]


def _build_option(bundle: Bundle, precisions: Sequence[str], target: Target) -> str:
    """The build that puts the graphs of a target into a bundle."""
    flags = "".join(f" --{precision}" for precision in precisions)
    flags += " --calib DATA" if "int8" in precisions else ""
    planned = [plan_name(precision) for precision in precisions if _is_planned(bundle, precision)]
    flags += "".join(f" --plan {name}" for name in planned[:1])
    return f"Build the bundle with mahtrt build MODEL.onnx{flags} --target {target.name}."


def _graph(bundle: Bundle, target: Target, precision: str) -> GraphRecord | None:
    """The bundle's graph that a target compiles to a precision, None where it is not there."""
    planned = _is_planned(bundle, precision)  # another graph would forget the plan
    kinds = (target.graph_kind(precision, each, planned=planned) for each in FLOAT_TYPES)
    return next((g for kind in kinds if (g := bundle.manifest.graph(kind.name))), None)


def _is_planned(bundle: Bundle, precision: str) -> bool:
    """Whether engines of a half precision keep in the bundle what a plan says in FP32."""
    graphs = bundle.manifest.graphs
    return any(graph.precision == precision and follows_plan(graph.name) for graph in graphs)


def _data(bundle: Bundle, options: CompileOptions) -> Dataset | None:
    """The caller's images; refuses a compilation whose engines could not be checked."""
    has_export = bundle.manifest.graph("fp32") is not None
    if options.eval is None:
        if bundle.manifest.golden is None:
            whole = "" if has_export else " and compile from the whole bundle, not a packed one"
            raise DataError(
                str(options.bundle),
                got="no golden images in the bundle",
                expected="images to check engines on",
                fix=f"Give --eval DATA{whole}.",
            )
        return None
    if not has_export:
        raise UsageError(
            "--eval",
            got="a bundle without its FP32 graph",
            expected="an FP32 graph to compare engines with",
            fix="Compile from the whole bundle instead of a packed one"
            + (", or leave --eval out." if bundle.manifest.golden else "."),
        )
    given = open_dataset(
        options.eval,
        points=options.points,
        skip_bad=options.skip_bad,
        inputs=bundle.spec.input_names,
    )
    return spread_out(given, options.check_images)


def _judge(
    bundle: Bundle,
    engines: Sequence[BuiltEngine],
    data: Dataset | None,
    options: CompileOptions,
    progress: StageProgress,
) -> Judged:
    """Judge engines on the golden images, then on the caller's, whose numbers count where given.

    Raises:
        AccuracyError: An engine is over its limits, and is not to be kept then.
    """
    golden, spec = bundle.manifest.golden, bundle.spec
    judged: list[Judged] = []
    replays: dict[str, AccuracyRecord] = {}
    with ExitStack() as stack:
        contenders = [_contender(bundle, engine, options.threads) for engine in engines]
        for contender in contenders:
            stack.callback(contender.session.close)
        if golden is not None:
            vectors = read_golden(bundle)
            reference = _recorded(RecordedLandmarks(vectors, spec), golden.reference)
            has_length = any(vector.spacing_mm for vector in vectors)
            limits = Limits.of_gate(bundle.manifest.gate).for_replay(has_length)
            settings = GateSettings(len(vectors), limits, options.threads)
            images = GoldenImages(vectors)
            judged.append(judge_contenders(contenders, reference, images, settings, progress))
            # What an engine over the limits gave must not excuse it when it is verified.
            passed = [c for c in contenders if judged[0].verdicts[c.name].passed]
            replays = replays_of(passed, vectors)
        if data is not None:
            reference = _export(bundle, options.threads)
            stack.callback(reference.contender.session.close)
            limits = Limits.of_gate(bundle.manifest.gate)
            settings = GateSettings(len(data), limits, options.threads)
            judged.append(judge_contenders(contenders, reference, data, settings, progress))
    for each in judged:
        if not options.keep_failed:
            each.refuse_failed("No bundle was written; --keep-failed writes one all the same.")
    return replace(judged[-1], replays=replays)


def _export(bundle: Bundle, threads: int | None) -> Reference:
    """The bundle's FP32 graph, for images without recorded landmarks."""
    manifest = bundle.manifest
    export = manifest.graph("fp32")
    assert export is not None
    parity = manifest.provenance.parity if manifest.provenance else None
    return export_as_reference(
        bundle.file(export.file), bundle.spec, parity, threads, manifest.preprocess_version
    )


def _contender(bundle: Bundle, engine: BuiltEngine, threads: int | None) -> Contender:
    record = engine.record
    session = engine.open(bundle.spec, threads, bundle.manifest.preprocess_version)
    return Contender(record.name, record.target, record.precision, record.batch, session)


def _recorded(landmarks: RecordedLandmarks, made_by: str) -> Reference:
    contender = Contender(
        "reference",
        "recorded",
        "fp32",
        1,
        landmarks,
        is_reference=True,
        stand_in="recorded landmarks",
        recorded=landmarks.recorded,
    )
    return Reference(contender, f"golden landmarks of {made_by}")


def _write(
    bundle: Bundle,
    engines: Sequence[BuiltEngine],
    judged: Judged,
    options: CompileOptions,
    work: Workspace,
) -> BuildResult:
    """Write the bundle: what is in the workspace, and the golden vectors of the old one."""
    old, limits = bundle.manifest, Limits.of_gate(bundle.manifest.gate)
    with write_bundle(options.place) as writer:
        writer.adopt(work.bundle)
        files.write_text(writer.place("report.json"), report_text(judged))
        golden = copy_golden(writer, bundle)
        copy_reference(writer, bundle)
        manifest = writer.finish(
            replace(
                old,
                engines=tuple(
                    with_usual_spreads(
                        measured_engine(e.record, judged.report, judged.replays), old.engines
                    )
                    for e in engines
                ),
                default_engine=judged.default_engine,
                gate=gate_record(judged.reference, limits),
                golden=golden,
                files=(),
                schema=SCHEMA,
                **made_here(),
            )
        )
    left_out = _left_out(bundle, find_target(options.target))
    notes = (*left_out, *notes_of(engines), *notes_on_signature(bundle))
    return BuildResult(options.place, manifest, judged.report, judged.verdicts, notes=notes)


def _left_out(bundle: Bundle, target: Target) -> list[str]:
    """What the target could build, were its graph in the bundle, and how to have it there."""
    return [
        f"{each}: left out, its graph is not here. {_build_option(bundle, [each], target)}"
        for each in _missing(bundle, target)
    ]
