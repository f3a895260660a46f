"""Training with progress, and the error afterwards: what ``mahtrt train`` does."""

from __future__ import annotations

import functools
import time
from datetime import timedelta
from typing import Protocol

import torch

from mahtrt.data.datasets import open_dataset
from mahtrt.data.sample import Dataset
from mahtrt.models import build_model
from mahtrt.models.checkpoint import load_checkpoint, load_into
from mahtrt.training.trainer import (
    StepReport,
    TrainOptions,
    check_annotations,
    mean_radial_error,
    train,
)

SMOOTHING = 0.05


class Progress(Protocol):
    """Takes what goes on: the stage, how much of it is done and in all, and words about it."""

    def __call__(self, stage: str, done: int, total: int, detail: str = "") -> None: ...


def train_and_report(
    options: TrainOptions,
    evaluation: str | None,
    progress: Progress | None = None,
) -> list[str]:
    """Train, then measure the written checkpoint on ``evaluation``.

    Returns:
        Lines for the user.

    Raises:
        As :func:`mahtrt.training.trainer.train`, and DataError for the evaluation data.
    """
    tell = progress or (lambda *_: None)
    held_out = _open_held_out(evaluation, options) if evaluation else None
    course = _Course(options.batch_size)

    def on_step(report: StepReport) -> None:
        tell("training", report.step, report.steps, course.after(report))

    tell("preparing the network", 0, 0)
    spec = train(options, on_step, functools.partial(tell, "settling batch norms"))
    lines = [str(options.out)]
    if course.loss is not None:
        lines.append(f"loss {course.loss:.4f} after {options.steps} steps")
    if held_out is not None:
        tell("evaluating", 0, 0)
        module = build_model(options.model, **options.overrides)
        load_into(module, load_checkpoint(options.out))
        error_px, error_mm = mean_radial_error(module, spec, held_out)
        mm = f", {error_mm:.3f} mm" if error_mm is not None else ""
        lines.append(f"MRE on {evaluation} ({len(held_out)} images): {error_px:.3f} px{mm}")
    return lines


class _Course:
    """How training goes: the loss, smoothed over steps, and the pace since the first step.

    The first step is left out of the pace, since processes start and memory is taken in it.
    """

    def __init__(self, batch_size: int) -> None:
        self.loss: float | None = None
        self._batch_size = batch_size
        self._first = (0, 0.0)

    def after(self, report: StepReport) -> str:
        """Step, loss, rate and time left, in words."""
        now = time.monotonic()
        words = f"step {report.step} of {report.steps}"
        if self.loss is None:
            self.loss, self._first = report.loss, (report.step, now)
            return f"{words}, loss {self.loss:.4f}"
        self.loss += SMOOTHING * (report.loss - self.loss)
        seconds = (now - self._first[1]) / (report.step - self._first[0])
        left = timedelta(seconds=round(seconds * (report.steps - report.step)))
        rate = self._batch_size / max(seconds, 1e-9)
        return f"{words}, loss {self.loss:.4f}, {rate:.1f} images/s, {left} left"


def _open_held_out(source: str, options: TrainOptions) -> Dataset:
    """The evaluation data, judged before training instead of after it."""
    dataset = open_dataset(source, points=options.points)
    with torch.device("meta"):  # only its spec is wanted
        module = build_model(options.model, **options.overrides)
    check_annotations(dataset, options, module.spec)
    return dataset
