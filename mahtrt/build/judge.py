"""Sixth stage of a build: every engine held against PyTorch, within the caller's limits."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from mahtrt.benchmarks.compare import Contender, Runner, compare
from mahtrt.benchmarks.int8_gain import gains_of_int8
from mahtrt.benchmarks.options import CompareOptions
from mahtrt.benchmarks.reference import Reference
from mahtrt.benchmarks.report import BenchReport, ReportFacts
from mahtrt.build.engines import BuiltEngine
from mahtrt.build.images import GOLDEN_IMAGES, ImageSets
from mahtrt.build.request import Request
from mahtrt.build.stand_in import StandInGraph, open_stand_in
from mahtrt.build.watched import describe_images
from mahtrt.build.workspace import Workspace
from mahtrt.bundle.golden import GoldenVector
from mahtrt.bundle.golden_outputs import golden_values
from mahtrt.bundle.records import AccuracyRecord, VerdictRecord
from mahtrt.bundle.reference_statistics import ReferenceStatistics
from mahtrt.data.sample import Dataset
from mahtrt.errors import GateError
from mahtrt.measure.limits import Limits
from mahtrt.progress import StageProgress
from mahtrt.runtime.landmarks import output_set
from mahtrt.runtime.replay import replay
from mahtrt.targets.table import find_target

# Enough to rank engines that differ by a tenth; bench measures properly.
TIMED_ROUNDS, TIMED_SECONDS = 30, 60.0


class AccuracyError(GateError):
    """An engine is further from the reference than its budgets allow."""

    def __init__(
        self, reasons: Mapping[str, Sequence[str]], report: BenchReport, fix: str = ""
    ) -> None:
        text = "; ".join(f"{name}: {', '.join(why)}" for name, why in reasons.items())
        super().__init__(
            "accuracy gate",
            got=text,
            expected="every engine within its budget",
            fix=fix,
        )
        self.report = report


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What was measured of every engine.

    Attributes:
        report: Accuracy and a first latency of every engine against the reference.
        verdicts: Engine name to verdict of its accuracy gate.
        reference: What the engines were held against, in words.
        golden: Some of the images with what the reference gives.
        replays: Engine name to how far it is from these; of engines whose replay was judged.
        watched: How the images, and what the default engine found in them, look; None where they
            were not described.
    """

    report: BenchReport
    verdicts: Mapping[str, VerdictRecord]
    reference: str
    golden: tuple[GoldenVector, ...] = ()
    replays: Mapping[str, AccuracyRecord] = field(default_factory=dict)
    watched: ReferenceStatistics | None = None

    @property
    def default_engine(self) -> str:
        """Name of the engine that a bundle opens first."""
        return next(row.name for row in self.report.rows if row.is_default)

    def refuse_failed(self, fix: str) -> None:
        """Raise AccuracyError where an engine is over its limits.

        Args:
            fix: What the user can do then.
        """
        failed = {name: v.reasons for name, v in self.verdicts.items() if not v.passed}
        if failed:
            raise AccuracyError(failed, self.report, fix)


def judge_engines(
    request: Request,
    images: ImageSets,
    reference: Reference,
    engines: Sequence[tuple[BuiltEngine, StandInGraph]],
    work: Workspace,
    progress: StageProgress,
) -> Judged:
    """Measure every engine on the evaluation images, and choose the default engine.

    Args:
        engines: Engines, each with what stands in for it where it cannot run here.

    Raises:
        AccuracyError: An engine is over its budget, and is not to be kept then (exit 3).
    """
    options = request.options
    with ExitStack() as stack:
        contenders = []
        for engine, stand_in in engines:
            contenders.append(_contender(request, engine, stand_in, work.scratch))
            stack.callback(contenders[-1].session.close)
        settings = GateSettings(options.check_images, options.limits, options.threads)
        judged = judge_contenders(contenders, reference, images.evaluation, settings, progress)
        if not options.keep_failed:
            judged.refuse_failed(_advice(contenders, judged))
        session = reference.contender.session
        golden = tuple(_golden(session, images.evaluation)) if options.golden else ()
        # What nobody judged must not widen the limits of a replay.
        judges_enough = options.check_images >= len(golden)
        replays = replays_of(contenders, golden) if judges_enough else {}
        default = next(e.record for e, _ in engines if e.record.name == judged.default_engine)
        watched = describe_images(contenders, default, judged.report, images, progress)
        return dataclasses.replace(judged, golden=golden, replays=replays, watched=watched)


def _advice(contenders: Sequence[Contender], judged: Judged) -> str:
    """What can be done where an engine is over its limits."""
    advice = "No bundle was written; see --keep-failed, --plan and the budgets."
    failed = {c.precision for c in contenders if not judged.verdicts[c.name].passed}
    if "int8" not in failed:
        return advice
    return f"{advice} mahtrt qat fine-tunes the network, so that its INT8 comes nearer."


def replays_of(
    contenders: Sequence[Contender], golden: Sequence[GoldenVector]
) -> dict[str, AccuracyRecord]:
    """How far open engines are from golden vectors, by name; nothing without vectors."""
    return {each.name: replay(each.session, golden) for each in contenders if golden}


@dataclass(frozen=True, slots=True)
class GateSettings:
    """How engines are judged.

    Attributes:
        images: Number of images to judge on, at most.
        limits: Limits of the accuracy gate.
        threads: Threads that the engines were opened with, for the report.
    """

    images: int
    limits: Limits
    threads: int | None = None


def judge_contenders(
    contenders: Sequence[Contender],
    reference: Reference,
    images: Dataset,
    settings: GateSettings,
    progress: StageProgress,
) -> Judged:
    """Measure open engines against an open reference; the fastest that passed is the default."""
    report = compare(
        [reference.contender, *contenders],
        images,
        CompareOptions(
            images=min(settings.images, len(images)),
            rounds=TIMED_ROUNDS,
            max_seconds=TIMED_SECONDS,
            latency_budget_ms=None,  # bench judges latency
            limits=settings.limits,
            threads=settings.threads,
        ),
        ReportFacts(reference.described),
        progress=lambda done, of: progress("checking engines", done, of),
    )
    verdicts = {row.name: row.gate for row in report.rows if row.gate is not None}
    report = _with_default(report, default_engine(report, verdicts))
    return Judged(report, verdicts, reference.described)


def default_engine(report: BenchReport, verdicts: Mapping[str, VerdictRecord]) -> str:
    """The fastest engine that passed its gate; of those that cannot run here, the last.

    On a GPU, INT8 has to be faster than half precision beyond doubt (:mod:`int8_gain`).
    Where none passed, the fastest of all. Engines are built in the order of precisions, from FP32
    to INT8, so the last is what the user came for.
    """
    rows = [row for row in report.rows if row.scope == "engine" and row.is_engine]
    gainless = gains_of_int8(rows)
    rows = [row for row in rows if row.name not in gainless] or rows
    passed = [row for row in rows if verdicts[row.name].passed] or rows
    timed = {row.name: row.timings.p50_ms / row.batch for row in passed if row.timings}
    return min(timed, key=timed.__getitem__) if timed else passed[-1].name


def _with_default(report: BenchReport, name: str) -> BenchReport:
    rows = tuple(dataclasses.replace(row, is_default=row.name == name) for row in report.rows)
    return dataclasses.replace(report, rows=rows)


def _contender(
    request: Request, engine: BuiltEngine, stand_in: StandInGraph, scratch: Path
) -> Contender:
    """An engine ready to be judged, or its stand-in where it is for another machine."""
    record, options, what = engine.record, request.options, ""
    if find_target(record.target).can_run(record):
        session = engine.open(request.graph.spec, options.threads)
    else:
        session, what = open_stand_in(record, request.graph, stand_in, scratch, options.threads)
    return Contender(
        record.name, record.target, record.precision, record.batch, session, stand_in=what
    )


def _golden(reference: Runner, evaluation: Dataset) -> Iterator[GoldenVector]:
    for index in range(min(GOLDEN_IMAGES, len(evaluation))):
        sample = evaluation[index]
        found = reference.run(*sample.images)
        outputs = output_set([found], reference.spec)
        yield GoldenVector(
            sample.name,
            sample.image,
            found.points,
            sample.spacing_mm,
            sample.others,
            golden_values({name: values[0] for name, values in outputs.items()}),
        )
