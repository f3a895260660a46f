"""``mahtrt qat``: weights and ranges that make a plan's INT8 nearer to the FP32 network."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mahtrt.errors import GateError, require
from mahtrt.verbs.command import (
    DATA,
    OUTPUT,
    PLAN,
    REFERENCE,
    TRAINING,
    argument,
    as_command,
    option,
)
from mahtrt.verbs.console import StageDisplay, answer, complain, hint, say, show, write_json
from mahtrt.verbs.documents import qat_document
from mahtrt.verbs.options import (
    DATA_HELP,
    BudgetArguments,
    CalibrationArguments,
    Explain,
    ForeignCodeArguments,
    Json,
    Method,
    Points,
    SkipBad,
    Threads,
    points_from_text,
)

if TYPE_CHECKING:
    from mahtrt.bundle.records import AccuracyRecord
    from mahtrt.finetuning.options import QatOptions
    from mahtrt.finetuning.qat import QatResult
    from mahtrt.verbs.tables import FittedTable


LEGEND = (
    "calibrated, tuned: the plan's INT8 before and after learning, on images that were not learned "
    "on.",
    "moved px: distance of the landmarks to the reference's, in pixels of the network's input: the "
    "mean, the 99th percentile and the largest.",
    "MRE px: mean distance to the annotations, in image pixels.",
)


@dataclass(frozen=True, kw_only=True)
class QatArguments(CalibrationArguments, ForeignCodeArguments, BudgetArguments):
    """What ``mahtrt qat`` is given."""

    onnx: Annotated[Path, argument("ONNX file that mahtrt export wrote; it is the teacher.")]
    data: Annotated[str, option(DATA, f"DATA to learn on; it needs no annotations. {DATA_HELP}")]
    eval: Annotated[
        str | None,
        option(DATA, "DATA that judges the result; without it, a part of --data is held back."),
    ] = None
    check_images: Annotated[
        int,
        option(DATA, "Number of images that judge; at most a quarter of --data.", least=1),
    ] = 32
    points: Points = None
    skip_bad: SkipBad = False
    plan: Annotated[
        str,
        option(
            PLAN,
            "File plan.json that says which block is INT8; rules for what the rules say; all for "
            "every block that can be.",
        ),
    ] = "rules"
    minutes: Annotated[float, option(TRAINING, "Minutes to learn.")] = 20.0
    steps: Annotated[
        int | None,
        option(TRAINING, "Number of optimiser steps instead of --minutes.", least=1),
    ] = None
    batch_size: Annotated[int, option(TRAINING, "Images per step.", least=1)] = 8
    lr: Annotated[float, option(TRAINING, "Peak of the weights' learning rate.")] = 5e-6
    range_lr: Annotated[
        float,
        option(TRAINING, "Peak of the rate of the ranges' logarithms; 0 keeps them."),
    ] = 1e-3
    seed: Annotated[int, option(TRAINING, "Seed of the images' order and of what moves them.")] = 0
    resume: Annotated[
        bool, option(TRAINING, "Interrupted run of the same --out goes on.", "--resume")
    ] = False
    method: Method = "auto"
    checkpoint: Annotated[
        Path | None,
        option(
            REFERENCE,
            "Checkpoint that was exported, for the comparison with PyTorch; without it, the file "
            "is looked for by its recorded name and digest.",
        ),
    ] = None
    threads: Threads = None
    keep_failed: Annotated[
        bool,
        option(OUTPUT, "File is written even when it is over its budget.", "--keep-failed"),
    ] = False
    out: Annotated[Path, option(OUTPUT, "ONNX file to write, for mahtrt build --tuned.")] = Path(
        "model.tuned.onnx"
    )
    explain: Explain = False
    json: Json = None

    def options(self) -> QatOptions:
        """The verb's options."""
        from mahtrt.finetuning.options import QatOptions

        return QatOptions(
            onnx=self.onnx,
            data=self.data,
            out=self.out,
            plan=self.plan,
            minutes=self.minutes,
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.lr,
            range_rate=self.range_lr,
            seed=self.seed,
            eval=self.eval,
            check_images=self.check_images,
            points=points_from_text(self.points),
            skip_bad=self.skip_bad,
            method=self.method,
            percentile=self.percentile,
            threads=self.threads,
            weight_bits=self.weight_bits,
            reference=self.checkpoint,
            model=self.source_with(self.checkpoint),
            limits=self.limits(),
            resume=self.resume,
            keep_failed=self.keep_failed,
        )


@as_command
def command(arguments: QatArguments) -> None:
    """Fine-tune a network for INT8 (quantisation-aware training).

    Weights and ranges learn, under the rounding of the plan, to give what the FP32 network gives.
    The result is judged on images that it did not learn on; one that is over its budget ends the
    command with exit code 3. mahtrt build --tuned makes engines of it.
    """
    require("torch", extra="export", needed_for="fine-tuning")
    from mahtrt.finetuning.qat import qat

    with StageDisplay() as display:
        result = qat(arguments.options(), display)
    if arguments.json is not None:
        write_json(qat_document(result), arguments.json)
    show(_table(result))
    if arguments.explain:
        from mahtrt.verbs.rendering import paragraphs

        show(paragraphs(LEGEND))
    first, best = result.errors[0][1], min(error for _, error in result.errors)
    say(
        f"note: validation {first:.4f} -> {best:.4f} in {result.steps} steps, "
        f"{result.minutes:.1f} min; the INT8 graph is {result.shipped_px:.4f} px from what was "
        f"trained; held against {result.judged.reference}"
    )
    if not best < first:
        say("note: no step came nearer on validation; more --minutes may, or another --lr")
    answer(str(result.path))
    if not result.judged.verdict.passed:
        reasons = "; ".join(result.judged.verdict.reasons)
        complain(f"warning: kept although over budget: {reasons}")
        raise typer.Exit(GateError.exit_code)
    onnx, tuned = (shlex.quote(str(path)) for path in (arguments.onnx, result.path))
    held = shlex.quote(arguments.eval or "HELD_OUT_IMAGES")
    hint(f"mahtrt build {onnx} --fp32 --int8 --tuned {tuned} --eval {held}")


def _table(result: QatResult) -> FittedTable:
    """INT8 before and after learning, against the reference."""
    from mahtrt.verbs.tables import Column, FittedTable, numbers

    judged = (("calibrated", result.judged.calibrated), ("tuned", result.judged.tuned))
    columns = (Column("INT8"), *numbers("moved px, mean", "p99", "max", "MRE px"))
    return FittedTable(columns, [(name, *_cells(found)) for name, found in judged])


def _cells(found: AccuracyRecord) -> list[str]:
    numbers = (found.mean_px, found.p99_px, found.max_px, found.mre_px)
    return ["" if number is None else f"{number:.4f}" for number in numbers]
