"""What training is asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mahtrt.training.losses.options import LossOptions


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
