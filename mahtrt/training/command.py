"""Training with progress, and the error afterwards: what ``mahtrt train`` does."""

from __future__ import annotations

from collections.abc import Callable

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


def train_and_report(
    options: TrainOptions,
    evaluation: str | None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[str]:
    """Train, then measure the written checkpoint on ``evaluation``.

    Returns:
        Lines for the user.

    Raises:
        As :func:`mahtrt.training.trainer.train`, and DataError for the evaluation data.
    """
    tell = progress or (lambda *_: None)
    held_out = _open_held_out(evaluation, options) if evaluation else None
    smoothed: list[float] = []

    def on_step(report: StepReport) -> None:
        last = smoothed[-1] if smoothed else report.loss
        smoothed.append(last + SMOOTHING * (report.loss - last))
        tell("training", report.step, report.steps)

    tell("training", 0, options.steps)
    spec = train(options, on_step)
    lines = [str(options.out)]
    if smoothed:
        lines.append(f"loss {smoothed[-1]:.4f} after {options.steps} steps")
    if held_out is not None:
        tell("evaluating", 0, 0)
        module = build_model(options.model, **options.overrides)
        load_into(module, load_checkpoint(options.out))
        error_px, error_mm = mean_radial_error(module, spec, held_out)
        mm = f", {error_mm:.3f} mm" if error_mm is not None else ""
        lines.append(f"MRE on {evaluation} ({len(held_out)} images): {error_px:.3f} px{mm}")
    return lines


def _open_held_out(source: str, options: TrainOptions) -> Dataset:
    """The evaluation data, judged before training instead of after it."""
    dataset = open_dataset(source, points=options.points)
    with torch.device("meta"):  # only its spec is wanted
        module = build_model(options.model, **options.overrides)
    check_annotations(dataset, options, module.spec)
    return dataset
