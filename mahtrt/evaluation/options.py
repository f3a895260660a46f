"""What an evaluation is asked to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mahtrt.bundle.signature import Trust
from mahtrt.runtime.engine_choice import Require


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """Which networks are judged, and on what.

    Attributes:
        models: Checkpoints (``.safetensors``, or ``demo`` for the one that mahtrt ships) and
            bundles. An engine of a bundle that is not its default follows an ``@``, as in
            ``net.mahtrt@openvino-int8``.
        data: DATA with annotations.
        points: Which annotated points of DATA are the landmarks.
        spacing_mm: Millimetres per pixel of every image.
        folds: Parts of a cross-validation; None for none.
        fold: The part that judges, from 1. Without it, every ``folds`` models that follow each
            other are those of one network, each judged on its own part.
        threads: Threads of one inference.
        seed: Seed of the bootstrap.
        trust: Whose signature bundles have to have.
        require: Kind of device that every network has to run on; checkpoints run on a CPU unless
            a GPU is required.
    """

    models: Sequence[Path | str]
    data: str
    points: tuple[int, ...] | None = None
    spacing_mm: float | None = None
    folds: int | None = None
    fold: int | None = None
    threads: int | None = None
    seed: int = 0
    trust: Trust | None = None
    require: Require = "any"
