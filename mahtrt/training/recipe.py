"""How a training goes about it: precision, stages, schedule, averaging, validation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mahtrt.errors import UsageError

Precision = Literal["auto", "fp32", "bf16", "fp16"]
ScheduleName = Literal["cosine", "plateau"]
Average = Literal["none", "ema", "swa"]
Stages = Literal["one", "three"]


def refuse_numbers(*checks: tuple[str, float, bool, str]) -> None:
    """Refuse the first number that is out of its range.

    Args:
        checks: Option, number, whether it is within its range, and the range in words.

    Raises:
        UsageError: One is not.
    """
    for option, number, holds, expected in checks:
        if not holds:
            raise UsageError(option, got=str(number), expected=expected)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train.

    Attributes:
        device: Device of PyTorch, ``cpu`` or ``cuda``.
        precision: What the network computes in: ``auto`` is BF16 on a CPU that multiplies it
            natively, FP16 with a scaled loss on a GPU, and FP32 elsewhere.
        stages: ``three`` trains encoder and decoder, then the transformer beside a frozen
            encoder, then everything with rates of its own (:data:`THREE_STAGES`); a network that
            does not name these parts is trained as a whole.
        schedule: ``cosine`` falls along half a cosine after a linear warm-up; ``plateau`` halves
            the rate when the validation loss has not fallen for some validations.
        clip: Largest norm of the gradient; 0 leaves it alone.
        accumulate: Batches per optimiser step.
        average: Weights to keep: the last ones, their exponential moving average, or (``swa``)
            their mean over the last quarter of the steps.
        average_decay: Decay of ``ema``, per step.
        validate: DATA that tells when to stop and which weights to keep; none of its images may
            train. None validates nothing.
        validate_every: Steps between two validations.
        patience: Validations without a better loss after which training stops; 0 never stops.
        log: Folder for TensorBoard; None writes nothing.
    """

    device: str = "cpu"
    precision: Precision = "auto"
    stages: Stages = "one"
    schedule: ScheduleName = "cosine"
    clip: float = 5.0
    accumulate: int = 1
    average: Average = "none"
    average_decay: float = 0.999
    validate: str | None = None
    validate_every: int = 100
    patience: int = 0
    log: Path | None = None

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            UsageError: A schedule or patience without validation, or a number out of range.
        """
        for name, wants in (("--patience", self.patience > 0), ("--schedule plateau", self.falls)):
            if wants and self.validate is None:
                raise UsageError(name, got="no validation data", expected="--validate DATA")
        refuse_numbers(
            ("--clip", self.clip, 0 <= self.clip < math.inf, "a finite number, 0 or more"),
            ("--accumulate", self.accumulate, self.accumulate >= 1, "at least 1"),
            ("--validate-every", self.validate_every, self.validate_every >= 1, "1 or more"),
            ("--patience", self.patience, self.patience >= 0, "0 or more"),
            ("--average-decay", self.average_decay, 0 < self.average_decay < 1, "between 0 and 1"),
        )

    @property
    def falls(self) -> bool:
        """Whether the learning rate depends on validation."""
        return self.schedule == "plateau"


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a training with rates of its own.

    Attributes:
        name: For messages.
        share: Share of all steps.
        rates: Part of the network to its learning rate, as a multiple; 0 freezes it, batch norms
            included. A part that is not named has the full rate.
    """

    name: str
    share: float
    rates: Mapping[str, float]


ONE_STAGE = (Stage("training", 1.0, {}),)
THREE_STAGES = (
    Stage("encoder and decoder", 0.4, {"transformer": 0.0}),
    Stage("transformer", 0.2, {"encoder": 0.0}),
    Stage("end to end", 0.4, {"encoder": 0.1, "transformer": 0.5}),
)
_NEEDED_PARTS = {"encoder", "transformer"}


@dataclass(frozen=True, slots=True)
class Span:
    """A stage and the steps that it takes, from ``first`` up to ``last`` (not included)."""

    stage: Stage
    first: int
    last: int


def spans_of(recipe: Recipe, parts: Mapping[str, tuple[str, ...]], steps: int) -> tuple[Span, ...]:
    """The stages of a training, one after the other.

    Args:
        parts: What the network names
            (:meth:`mahtrt.models.network.Network.parameter_groups`).
        steps: Steps of the whole training.
    """
    staged = recipe.stages == "three" and set(parts) >= _NEEDED_PARTS
    stages = THREE_STAGES if staged else ONE_STAGE
    ends, share = [0], 0.0
    for stage in stages:
        share += stage.share
        ends.append(round(share * steps))
    pairs = zip(stages, ends[:-1], ends[1:], strict=True)
    return tuple(Span(stage, first, last) for stage, first, last in pairs)
