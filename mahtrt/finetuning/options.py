"""What fine-tuning for INT8 is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mahtrt.build.options import AUTO_METHOD, CalibrationOptions, check_calibration
from mahtrt.errors import UsageError
from mahtrt.measure.limits import Limits
from mahtrt.models.reference import ModelSource

RULES, ALL = "rules", "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class QatOptions:
    """What to fine-tune, on what, and for how long.

    Attributes:
        onnx: The FP32 export; it is the teacher.
        data: DATA to learn on; annotations are not needed.
        out: The ONNX file to write.
        plan: A plan file; ``rules`` for the plan that the rules give; ``all`` for INT8 wherever it
            is possible.
        minutes: How long to learn, without the validations.
        steps: Optimiser steps instead of minutes: the same result on the same machine.
        batch_size: Cases per step.
        learning_rate: Peak of the weights' rate.
        range_rate: Peak of the rate of the ranges' logarithms; 0 keeps the calibrated ranges.
        seed: Seed of the order of images and of their augmentation.
        eval: DATA that judges the result; None holds some of ``data`` back.
        check_images: How many images judge; of ``data``, at most a quarter is held back.
        points: Annotated points of DATA that are the network's landmarks.
        skip_bad: Unreadable images are left out instead of refused.
        method: How the ranges to begin with are found: ``minmax``, ``percentile``, ``entropy``,
            ``mse``, or ``auto``.
        percentile: What ``percentile`` keeps.
        threads: Threads of PyTorch and of one inference; None leaves their number to them.
        weight_bits: Bits of INT8 weights; None: 7 where this CPU's INT8 sums could saturate.
        reference: Checkpoint of the PyTorch reference, where it is not found by itself.
        model: A foreign network's code, for the reference.
        resume: Go on with an interrupted run of the same ``out``.
        keep_failed: The file is written although it is over its limits.
    """

    onnx: Path
    data: str
    out: Path = Path("model.tuned.onnx")
    plan: str = RULES
    minutes: float = 20.0
    steps: int | None = None
    batch_size: int = 8
    learning_rate: float = 5e-6
    range_rate: float = 1e-3
    seed: int = 0
    eval: str | None = None
    check_images: int = 32
    points: tuple[int, ...] | None = None
    skip_bad: bool = False
    method: str = AUTO_METHOD
    percentile: float | None = None
    threads: int | None = None
    weight_bits: int | None = None
    reference: Path | None = None
    model: ModelSource | None = None
    limits: Limits = field(default_factory=Limits)
    resume: bool = False
    keep_failed: bool = False

    @property
    def calibration(self) -> CalibrationOptions:
        """How the ranges to begin with are found."""
        return CalibrationOptions(self.method, self.percentile, self.threads)

    def check(self) -> None:
        """Refuse numbers that cannot be.

        Raises:
            UsageError: There is one.
        """
        check_calibration(self.calibration)
        self.limits.check()
        least: dict[str, tuple[float, bool]] = {
            "--minutes": (self.minutes, self.minutes > 0),
            "--steps": (self.steps or 0, self.steps is None or self.steps > 0),
            "--batch-size": (self.batch_size, self.batch_size > 0),
            "--lr": (self.learning_rate, self.learning_rate > 0),
        }
        for name, (value, good) in least.items():
            if not good:
                raise UsageError(name, got=str(value), expected="more than 0")
        if self.range_rate < 0:
            raise UsageError("--range-lr", got=str(self.range_rate), expected="0 or more")

    def described(self) -> dict[str, Any]:
        """What a resumed run has to have in common with the one that was interrupted."""
        return {
            "plan": self.plan,
            "data": self.data,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "range_rate": self.range_rate,
            "seed": self.seed,
            "method": self.method,
            "percentile": self.percentile,
        }
