"""What training is asked to do."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mahtrt.data.datasets import is_phantom
from mahtrt.data.folds import Fold
from mahtrt.errors import UsageError
from mahtrt.training.losses.options import LossOptions
from mahtrt.training.recipe import Recipe, refuse_numbers

MOST_SEED = 2**63 - 1  # that PyTorch takes


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What to train, on what, and where the result goes.

    Attributes:
        data: DATA; a bare ``phantom``, or another synthetic kind, gives as many as are asked for,
            of seeds of their own.
        model: ``family/variant``.
        out: The checkpoint to write, ``.safetensors``.
        steps: Optimiser steps; 0 keeps the random weights.
        batch_size: Images per step.
        learning_rate: Peak of the learning rate.
        seed: Seed of the weights and of the images' order.
        workers: Processes that prepare images.
        settle: Batches run before training without gradients, so that batch-norm statistics
            describe real images.
        init: A checkpoint to start from; it may have been trained at another input size.
        resume: Go on with an interrupted training of the same ``out``.
        half: Write FP16 weights.
        points: Which annotated points of DATA are the network's landmarks.
        eval: DATA to measure the error on afterwards; none of its images may be in ``data``.
        overrides: Settings of the model's config.
        losses: What is minimised.
        recipe: How it is minimised.
        fold: A part of the data that is left out of training, and that judges afterwards where
            ``eval`` names nothing else.
    """

    data: str
    model: str = "maht-net/nano"
    out: Path = Path("model.safetensors")
    steps: int = 1000
    batch_size: int = 16
    learning_rate: float = 1e-3
    seed: int = 0
    workers: int = 1
    settle: int = 0
    init: Path | None = None
    resume: bool = False
    half: bool = False
    points: tuple[int, ...] | None = None
    eval: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    losses: LossOptions = field(default_factory=LossOptions)
    recipe: Recipe = field(default_factory=Recipe)
    fold: Fold | None = None

    def check(self) -> None:
        """Refuse what no training can be, before anything long begins.

        Raises:
            UsageError: A number out of range, losses or a recipe that cannot be, or an ``out`` that
                is not a safetensors file.
        """
        if self.out.suffix != ".safetensors":
            raise UsageError("--out", got=self.out.name, expected="a name ending in .safetensors")
        rate = self.learning_rate
        refuse_numbers(
            ("--steps", self.steps, self.steps >= 0, "0 or more"),
            ("--batch-size", self.batch_size, self.batch_size >= 1, "at least 1"),
            ("--lr", rate, 0 < rate < math.inf, "a finite number above 0"),
            ("--seed", self.seed, 0 <= self.seed <= MOST_SEED, f"0 to {MOST_SEED}"),
            ("--workers", self.workers, self.workers >= 0, "0 or more"),
            ("--settle", self.settle, self.settle >= 0, "0 or more"),
        )
        self.recipe.check()
        self.losses.check()


def described(options: TrainOptions) -> dict[str, Any]:
    """The options that decide the result, as they go into checkpoint and state."""
    recipe = {k: v for k, v in _changed(options.recipe).items() if k != "log"}
    if options.recipe.validate is not None:
        recipe["validate"] = _data_name(options.recipe.validate)
    more = {
        "losses": _changed(options.losses),
        "recipe": recipe,
        "fold": None if options.fold is None else dataclasses.astuple(options.fold),
    }
    return {
        "model": options.model,
        "data": _data_name(options.data),
        "steps": options.steps,
        "batch_size": options.batch_size,
        "learning_rate": options.learning_rate,
        "seed": options.seed,
        "settle": options.settle,
        "init": options.init.name if options.init else None,
        "points": options.points,
        "overrides": dict(options.overrides),
        **{name: value for name, value in more.items() if value},
    }


def _data_name(source: str) -> str:
    """DATA without its folder, which is nobody else's business."""
    return source if is_phantom(source) else Path(source).name


def _changed(options: LossOptions | Recipe) -> dict[str, Any]:
    """The fields that are not as they are by default."""
    plain = type(options)()
    return {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(options)
        if getattr(options, field.name) != getattr(plain, field.name)
    }
