"""First stage of a build: everything that can be refused before there is long work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mahtrt.build.options import AUTO, AUTO_PLAN, BuildOptions, check_calibration
from mahtrt.build.plan_check import PLANNED_PRECISIONS, read_plan
from mahtrt.bundle.bundle import check_replaceable
from mahtrt.bundle.plan import Plan
from mahtrt.errors import MissingComponentError, UsageError
from mahtrt.graph.graph_file import GraphFile, read_graph
from mahtrt.progress import StageProgress
from mahtrt.runtime.decode import check_judged
from mahtrt.targets.graph_kinds import GraphKind
from mahtrt.targets.table import TARGETS, all_targets, check_options, find_target

if TYPE_CHECKING:
    from mahtrt.calibration.tuned import Tuned

PRECISIONS = ("fp32", "fp16", "bf16", "int8")
INT8_FLOATS = ("fp16", "bf16", "fp32")


@dataclass(frozen=True, slots=True)
class Job:
    """One engine to build."""

    precision: str
    target: str

    @property
    def name(self) -> str:
        """Name of the engine in the bundle."""
        return f"{self.target}-{self.precision}"


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """A build that can be started.

    Attributes:
        options: The caller's options, which do not contradict each other.
        graph: The FP32 export.
        targets: Names of the targets, without ``auto``.
        precisions: Precisions to build, in the caller's order.
        plan: The caller's plan file, which fits the graph and the targets; None without one.
        planned: Half precisions in which a plan keeps blocks in FP32.
        tuned: What INT8 is made of instead of the export; None where it was not fine-tuned.
    """

    options: BuildOptions
    graph: GraphFile
    targets: tuple[str, ...]
    precisions: tuple[str, ...]
    plan: Plan | None = None
    planned: tuple[str, ...] = ()
    tuned: Tuned | None = None

    def following(self, precisions: tuple[str, ...], planned: tuple[str, ...]) -> Request:
        """The same build after what to build was chosen."""
        return replace(self, precisions=precisions, planned=planned)

    @property
    def jobs(self) -> tuple[Job, ...]:
        """Every engine to build; a target that does not compute in a precision is left out."""
        return tuple(
            Job(precision, name)
            for precision in self.precisions
            for name in self.targets
            if precision in find_target(name).precisions
        )

    def graph_kind(self, job: Job) -> GraphKind:
        """The graph that an engine is compiled from."""
        options = self.options
        return find_target(job.target).graph_kind(
            job.precision,
            options.int8_float,
            options.weight_bits,
            planned=job.precision in self.planned,
        )


def check(options: BuildOptions, progress: StageProgress) -> Request:
    """Judge the options, find the targets, and read the export.

    Raises:
        UsageError: Options that contradict each other, a limit of outputs that the network does not
            have, or a place that cannot be replaced.
        ModelError: The ONNX is not an export of mahtrt, or gives nothing that can be judged.
        SpecError, DataError, IntegrityError: A plan file that cannot be used.
        BuildError: A plan that a target cannot keep.
        MissingComponentError: A target is not installed, or none computes in a precision.
    """
    targets = _targets(options)
    _check_options(options)
    _check_precisions(options.precisions, targets)
    check_options(targets, options.engine)
    check_replaceable(options.out.resolve())
    progress("reading", 0, 0)
    graph = read_graph(options.onnx)
    check_judged(graph.spec, str(options.onnx))
    options.limits.check_outputs(graph.spec)
    plan = read_plan(options, graph, targets)
    tuned = None if options.tuned is None else _read_tuned(options.tuned, graph)
    return Request(options, graph, targets, options.precisions, plan, tuned=tuned)


def _read_tuned(path: Path, graph: GraphFile) -> Tuned:
    from mahtrt.calibration.tuned import read_tuned

    return read_tuned(path, graph)


def _targets(options: BuildOptions) -> tuple[str, ...]:
    named = [name for name in dict.fromkeys(options.targets) if name != AUTO]
    for name in named:
        find_target(name).require()
    if AUTO not in options.targets:
        return tuple(named)
    found = [target.name for target in all_targets() if target.runs_here]
    if not found:
        raise MissingComponentError(
            "build",
            got="no target installed",
            expected=f"one of {', '.join(TARGETS)}",
            fix="Run mahtrt doctor.",
        )
    return tuple(dict.fromkeys((*found, *named)))


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
    options.limits.check()
    if not options.plan_minutes > 0:
        raise UsageError("--plan-minutes", got=str(options.plan_minutes), expected="more than 0")
    if options.plan is not None and not {*PLANNED_PRECISIONS} & {*options.precisions}:
        raise UsageError(
            "--plan",
            got="no precision that a plan is about",
            expected=f"{', '.join(f'--{p}' for p in PLANNED_PRECISIONS)}, or several of them",
        )
    _check_calib(options)


def _check_tuned(options: BuildOptions) -> None:
    if "int8" not in options.precisions:
        raise UsageError("--tuned", got="no --int8", expected="--int8: it is what was fine-tuned")
    if options.plan is not None:
        raise UsageError(
            "--tuned", got="--plan beside it", expected="one of them: the file has its own plan"
        )
    if options.eval is None:
        raise UsageError(
            "--tuned",
            got="no images to check engines on",
            expected="--eval DATA, of which nothing was fine-tuned on",
        )


def _check_calib(options: BuildOptions) -> None:
    if options.tuned is not None:
        _check_tuned(options)
        return
    if "int8" in options.precisions and options.calib is None:
        raise UsageError(
            "--int8",
            got="no calibration images",
            expected="--calib DATA",
            fix="Give some dozens of the images that the network was trained on.",
        )
    if options.plan == AUTO_PLAN and options.calib is None:
        raise UsageError(
            f"--plan {AUTO_PLAN}",
            got="no images to measure plans on",
            expected="--calib DATA",
            fix="Give some dozens of the images that the network was trained on.",
        )


def _check_precisions(precisions: Sequence[str], targets: Sequence[str]) -> None:
    for precision in precisions:
        if any(precision in find_target(name).precisions for name in targets):
            continue
        others = [target.name for target in all_targets() if precision in target.precisions]
        raise MissingComponentError(
            f"--{precision}",
            got=f"target {', '.join(targets)}",
            expected=f"one that computes in {precision.upper()} ({', '.join(others)})",
            fix="Add it with --target, or build another precision.",
        )
