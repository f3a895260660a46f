"""``mahtrt build``: an exported ONNX to a bundle of checked engines."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mahtrt.errors import GateError
from mahtrt.targets.table import TARGETS
from mahtrt.verbs.choices import one_of, targets
from mahtrt.verbs.command import (
    DATA,
    ENGINES,
    INT8,
    OUTPUT,
    PLAN,
    TENSORRT,
    argument,
    as_command,
    option,
)
from mahtrt.verbs.console import StageDisplay, answer, complain, hint, say, show, write_json
from mahtrt.verbs.options import (
    DATA_HELP,
    BudgetArguments,
    Cache,
    CacheDir,
    CalibrationArguments,
    Explain,
    Json,
    Points,
    ReferenceArguments,
    SkipBad,
    Threads,
    points_from_text,
)

if TYPE_CHECKING:
    from mahtrt.build.options import BuildOptions
    from mahtrt.build.result import BuildResult
    from mahtrt.targets.tensorrt.options import TensorRtOptions
    from mahtrt.verbs.compile import CompileArguments


@dataclass(frozen=True, kw_only=True)
class TensorRtArguments:
    """How TensorRT builds engines."""

    workspace_mib: Annotated[
        int | None, option(TENSORRT, "Scratch memory that a kernel may use at most, in MiB.")
    ] = None
    optimization_level: Annotated[
        int | None, option(TENSORRT, "Effort of the builder: 0 (quick build) to 5 (fast engine).")
    ] = None
    hardware_compatibility: Annotated[
        str,
        option(
            TENSORRT,
            "GPUs that can run the engine: none (only the one here), ampere_plus or "
            "same_compute_capability.",
            complete=one_of("none", "ampere_plus", "same_compute_capability"),
        ),
    ] = "none"
    compute_capability: Annotated[
        list[str] | None,
        option(
            TENSORRT,
            "GPU that TensorRT-RTX compiles for, such as SM89; without it, the one here. "
            "May be repeated.",
        ),
    ] = None
    fuse_soft_argmax: Annotated[
        bool,
        option(TENSORRT, "The soft-argmax as one kernel; experimental.", "--fuse-soft-argmax"),
    ] = False
    timeout: Annotated[
        float | None, option(TENSORRT, "Seconds after which the build of an engine is given up.")
    ] = None
    cache: Cache = True
    cache_dir: CacheDir = None

    def target_options(self) -> tuple[TensorRtOptions, ...]:
        """The options of TensorRT, where one of them was given."""
        from mahtrt.targets.tensorrt.options import TensorRtOptions

        given = TensorRtOptions(
            workspace_mib=self.workspace_mib,
            optimization_level=self.optimization_level,
            hardware_compatibility=self.hardware_compatibility,  # type: ignore[arg-type]
            compute_capabilities=tuple(self.compute_capability or ()),
            fuse_soft_argmax=self.fuse_soft_argmax,
            timeout_s=self.timeout,
        )
        return () if given == TensorRtOptions() else (given,)


@dataclass(frozen=True, kw_only=True)
class BuildArguments(TensorRtArguments, CalibrationArguments, ReferenceArguments, BudgetArguments):
    """What ``mahtrt build`` is given."""

    onnx: Annotated[Path, argument("ONNX file that mahtrt export wrote.")]
    fp32: Annotated[
        bool, option(ENGINES, "FP32 engines; also built when no precision is named.", "--fp32")
    ] = False
    fp16: Annotated[
        bool,
        option(ENGINES, "FP16 engines, for TensorRT; ONNX Runtime runs them for checks.", "--fp16"),
    ] = False
    bf16: Annotated[bool, option(ENGINES, "BF16 engines.", "--bf16")] = False
    int8: Annotated[bool, option(ENGINES, "INT8 engines; they need --calib.", "--int8")] = False
    target: Annotated[
        list[str] | None,
        option(
            ENGINES,
            f"Runtime to build for: auto (all that run here), {', '.join(TARGETS)}. May be "
            "repeated.  [default: auto]",
            complete=targets,
        ),
    ] = None
    calib: Annotated[
        str | None,
        option(DATA, f"DATA that INT8 is calibrated and plans are searched on. {DATA_HELP}"),
    ] = None
    eval: Annotated[
        str | None,
        option(
            DATA,
            "DATA that engines are checked on; without it, a part of --calib, or phantoms where "
            "there is none.",
        ),
    ] = None
    check_images: Annotated[
        int,
        option(
            DATA,
            "Number of images that engines are checked on; at most a quarter of --calib.",
            least=1,
        ),
    ] = 32
    points: Points = None
    skip_bad: SkipBad = False
    plan: Annotated[
        str | None,
        option(
            PLAN,
            "File plan.json that says which block is INT8 and which stays FP32, or auto: the "
            "fastest plan within the budget is searched for, of INT8 and of each half precision. "
            "Without it, fixed rules decide. With --int8, a file is INT8's.",
        ),
    ] = None
    plan_minutes: Annotated[
        float,
        option(PLAN, "Minutes that --plan auto may search for a plan, after the sensitivity."),
    ] = 10.0
    tuned: Annotated[
        Path | None,
        option(
            PLAN,
            "File that mahtrt qat wrote for this export: INT8 follows its plan, weights and "
            "ranges. It needs --eval, and neither --calib nor --plan.",
        ),
    ] = None
    seed: Annotated[int, option(PLAN, "Seed of the search order.")] = 0
    bias_correction: Annotated[
        bool, option(INT8, "Mean error of INT8 products is taken out through their biases.")
    ] = True
    int8_float: Annotated[
        str,
        option(
            INT8,
            "Type that TensorRT computes in beside INT8: fp16, bf16 or fp32.",
            complete=one_of("fp16", "bf16", "fp32"),
        ),
    ] = "fp16"
    golden: Annotated[
        bool,
        option(OUTPUT, "Three of the checked images are kept in the bundle, for mahtrt verify."),
    ] = True
    keep_failed: Annotated[
        bool,
        option(
            OUTPUT, "Bundle is written even when an engine is over its budget.", "--keep-failed"
        ),
    ] = False
    threads: Threads = None
    out: Annotated[Path, option(OUTPUT, "Bundle to write.")] = Path("model.mahtrt")
    explain: Explain = False
    json: Json = None

    def options(self) -> BuildOptions:
        """The verb's options."""
        from mahtrt.build.options import AUTO, BuildOptions

        wanted = {"fp32": self.fp32, "fp16": self.fp16, "bf16": self.bf16, "int8": self.int8}
        return BuildOptions(
            onnx=self.onnx,
            out=self.out,
            precisions=tuple(name for name, asked in wanted.items() if asked) or ("fp32",),
            targets=tuple(self.target or (AUTO,)),
            calib=self.calib,
            eval=self.eval,
            points=points_from_text(self.points),
            method=self.method,
            percentile=self.percentile,
            bias_correction=self.bias_correction,
            plan=self.plan,
            plan_minutes=self.plan_minutes,
            seed=self.seed,
            tuned=self.tuned,
            weight_bits=self.weight_bits,
            int8_float=self.int8_float,  # type: ignore[arg-type]
            check_images=self.check_images,
            skip_bad=self.skip_bad,
            reference=self.reference,
            model=self.source(),
            limits=self.limits(),
            golden=self.golden,
            keep_failed=self.keep_failed,
            threads=self.threads,
            cache=self.cache,
            cache_dir=self.cache_dir,
            target_options=self.target_options(),
        )


@as_command
def command(arguments: BuildArguments) -> None:
    """Build engines, check each against PyTorch, and bundle them.

    INT8 is calibrated on your images. An engine that is further from PyTorch than the budgets
    allow, in landmarks, maps, labels or what is visible, ends the command with exit code 3, and no
    bundle is written. A budget of an output that the network does not have is refused.
    """
    from mahtrt.build.build import build

    options = arguments.options()
    judged_build(lambda display: build(options, display), arguments)


def judged_build(
    make: Callable[[StageDisplay], BuildResult], arguments: BuildArguments | CompileArguments
) -> None:
    """Make a bundle, and show what its gate measured; exit 3 where a failed engine was kept."""
    from mahtrt.build.judge import AccuracyError
    from mahtrt.measure.limits import Limits
    from mahtrt.verbs.documents import build_document
    from mahtrt.verbs.report_text import report_table

    with StageDisplay() as display:
        try:
            result = make(display)
        except AccuracyError as error:
            show(report_table(error.report, explain=arguments.explain), to_stderr=True)
            raise
    if arguments.json is not None:
        verb = "build" if isinstance(arguments, BuildArguments) else "compile"
        write_json(build_document(result, verb), arguments.json)
    limits = Limits.of_gate(result.manifest.gate)
    show(report_table(result.report, explain=arguments.explain, limits=limits))
    for name in result.skipped:
        say(f"note: left out {name}, which cannot be read")
    for line in result.notes:
        say(f"note: {line}")
    failed = [name for name, verdict in result.verdicts.items() if not verdict.passed]
    answer(f"{result.path}  default engine {result.manifest.default_engine}")
    if failed:
        complain(f"warning: kept although over budget: {', '.join(failed)}")
        raise typer.Exit(GateError.exit_code)
    bundle = shlex.quote(str(result.path))
    hint(
        f"mahtrt bench {bundle} --data YOUR_IMAGES",
        f"mahtrt predict {bundle} YOUR_IMAGES --csv -",
    )
