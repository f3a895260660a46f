"""The verb ``train``: training, and the error of the checkpoint afterwards."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch

from mahtrt.data.overlap import JUDGE_ON_OTHERS, refuse_overlap
from mahtrt.data.sample import Dataset
from mahtrt.evaluation.answers import ask
from mahtrt.evaluation.scores import Scores, score
from mahtrt.models.checkpoint import load_checkpoint, load_into
from mahtrt.models.families import build_model
from mahtrt.models.torch_reference import TorchBackend
from mahtrt.progress import StageProgress, silent
from mahtrt.runtime.session import Session
from mahtrt.spec import ModelSpec
from mahtrt.training import trainer
from mahtrt.training.annotations import (
    is_endless,
    open_held_out_data,
    open_training_data,
    open_validation_data,
)
from mahtrt.training.options import TrainOptions
from mahtrt.training.run import StepReport

SMOOTHING = 0.05
_FOLDS = "Cases of --data have an image in common: judge on others with --eval instead of --folds."


@dataclass(frozen=True, slots=True)
class TrainResult:
    """The checkpoint, and how good it is.

    Attributes:
        path: The checkpoint.
        loss: Smoothed over the last steps; None where there was no step.
        scores: On the evaluation data; None where none were named.
    """

    path: Path
    spec: ModelSpec
    loss: float | None
    scores: Scores | None


def train(options: TrainOptions, progress: StageProgress = silent) -> TrainResult:
    """Train, then measure the written checkpoint on ``options.eval``.

    Raises:
        As :func:`mahtrt.training.trainer.train`, and DataError for evaluation data that cannot
        judge the network, or of which an image trains it.
    """
    options.check()
    held_out = _open_held_out(options, progress)
    course = _Course(options.batch_size * options.recipe.accumulate)

    def on_step(report: StepReport) -> None:
        progress("training", report.step, report.steps, course.after(report))

    progress("preparing the network", 0, 0)
    spec = trainer.train(options, on_step, functools.partial(progress, "settling batch norms"))
    scores = None
    if held_out is not None:
        module = build_model(options.model, **options.overrides)
        load_into(module, load_checkpoint(options.out))
        with Session(TorchBackend(module, spec), spec) as session:
            answers = ask(session, held_out, functools.partial(progress, "evaluating"))
        scores = score(answers)
    return TrainResult(options.out, spec, course.loss, scores)


class _Course:
    """How training goes: the loss, smoothed over steps, and the pace since the first step.

    The first step is left out of the pace, since processes start and memory is taken in it.
    """

    def __init__(self, batch_size: int) -> None:
        self.loss: float | None = None
        self.validation: float | None = None
        self._batch_size = batch_size
        self._first = (0, 0.0)

    def after(self, report: StepReport) -> str:
        """Step, loss, rate and time left, in words."""
        now = time.monotonic()
        words = f"step {report.step} of {report.steps}"
        if report.validation is not None:
            self.validation = report.validation
        if self.loss is None:
            self.loss, self._first = report.loss, (report.step, now)
            return f"{words}, loss {self.loss:.4f}{self._validated()}"
        self.loss += SMOOTHING * (report.loss - self.loss)
        seconds = (now - self._first[1]) / (report.step - self._first[0])
        left = timedelta(seconds=round(seconds * (report.steps - report.step)))
        rate = self._batch_size / max(seconds, 1e-9)
        return f"{words}, loss {self.loss:.4f}, {rate:.1f} images/s, {left} left{self._validated()}"

    def _validated(self) -> str:
        return "" if self.validation is None else f", validation loss {self.validation:.4f}"


def _open_held_out(options: TrainOptions, progress: StageProgress) -> Dataset | None:
    """The evaluation data, judged before training instead of after it; None where there is none.

    Raises:
        DataError: It cannot judge the network, or it or the validation data holds images that
            train.
    """
    with torch.device("meta"):  # only its spec is wanted
        spec = build_model(options.model, **options.overrides).spec
    held_out = open_held_out_data(options, spec)
    judging = {"evaluation": held_out, "validation": open_validation_data(options, spec)}
    for use, dataset in judging.items():
        if dataset is None or is_endless(options):  # more than anybody can compare
            continue
        stage = f"comparing training and {use}"
        refuse_overlap(
            open_training_data(options, spec),
            dataset,
            used_for="training",
            fix=JUDGE_ON_OTHERS if options.fold is None else _FOLDS,
            progress=functools.partial(progress, stage),
        )
    return held_out
