"""One course of fine-tuning: steps until the time is over, the best weights by validation.

The rate follows the share of the time (or of the steps) that is over: it rises over the first
twentieth and falls along half a cosine. Interrupted runs go on where they stopped. With a number of
steps instead of minutes, a run gives the same weights each time on one machine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mahtrt.errors import GateError, UsageError
from mahtrt.finetuning.distillation import Distillation
from mahtrt.finetuning.options import QatOptions
from mahtrt.finetuning.student import Student
from mahtrt.finetuning.torch_graph import TorchGraph, joined
from mahtrt.finetuning.validation import Validation
from mahtrt.training.rates import LEAST_SHARE, WARMUP_SHARE
from mahtrt.training.state import (
    InterruptFlag,
    TrainingInterrupted,
    damaged,
    load_state,
    save_state,
    state_path,
)

VALIDATIONS = 20
# A student this many times as far off than at the beginning, twice in a row, will not come back.
DIVERGED = 10.0
_CLIP = 1.0

Feeds = Iterator[list[dict[str, Tensor]]]  # the cases of a step


@dataclass(frozen=True, slots=True)
class QatStep:
    """What a progress display shows after a step.

    Attributes:
        share: How much of the time or of the steps is over, in [0, 1].
        error: Mean distance on the validation images when it was last measured.
    """

    step: int
    share: float
    loss: float
    error: float


class DivergedError(GateError):
    """Learning made the network worse instead of better."""


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """Who learns what from whom.

    Attributes:
        student: What learns; it begins with calibrated ranges.
        teacher: The FP32 graph.
        loss: How far the student is from the teacher.
        several: Whether cases of a step are computed at once.
    """

    student: Student
    teacher: TorchGraph
    loss: Distillation
    several: bool

    def take(self, cases: list[dict[str, Tensor]]) -> float:
        """Sum the gradients of a step's cases; the loss, their mean."""
        parts = [joined(cases)] if self.several else cases
        rounded, total = self.student.rounded(), 0.0
        for feed in parts:
            with torch.no_grad():
                wanted = self.teacher(feed)
            loss = self.loss(self.student(feed, rounded), wanted) / len(parts)
            loss.backward()
            total += float(loss.detach())
        self.student.pull(rounded)
        return total


class Run:
    """One course of fine-tuning.

    Args:
        options: How long and how fast.
        lesson: Who learns what from whom.
        validation: Images that choose the best weights.
        clock: Seconds.
    """

    def __init__(
        self,
        options: QatOptions,
        lesson: Lesson,
        validation: Validation,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.options, self.lesson, self.student = options, lesson, lesson.student
        self.validation, self._clock, student = validation, clock, lesson.student
        groups: list[dict[str, Any]] = [
            {"params": list(student.weights.values()), "peak": options.learning_rate}
        ]
        if options.range_rate > 0:
            scales = list(student.log_scales.values())
            groups.append({"params": scales, "peak": options.range_rate})
        self.optimizer = torch.optim.Adam(groups, lr=0.0)
        self.step, self.seconds = 0, 0.0
        self.errors: list[tuple[int, float]] = []  # of validation, with the step before it
        self.best = student.state_dict()

    @property
    def state_path(self) -> Path:
        """Where an interrupted run is kept."""
        return state_path(self.options.out)

    @property
    def share(self) -> float:
        """How much of the run is over, in [0, 1]."""
        steps = self.options.steps
        if steps is not None:
            return min(1.0, self.step / steps)
        return min(1.0, self.seconds / (60 * self.options.minutes))

    @property
    def least_error(self) -> float:
        """The error of the best weights on the validation images."""
        return min(error for _, error in self.errors)

    def restore(self) -> None:
        """Go on from the state of an interrupted run.

        Raises:
            CheckpointError: There is none, or it is damaged.
            UsageError: It is of other options.
        """
        state = load_state(self.state_path, {"step", "seconds", "errors", "run", "best"})
        if state["run"] != repr(self.options.described()):
            raise UsageError(
                "--resume",
                got=f"options {self.options.described()}",
                expected=f"those of the interrupted run, {state['run']}",
            )
        try:
            self.student.load_state_dict(state["student"])
            self.optimizer.load_state_dict(state["optimizer"])
        except Exception as error:  # PyTorch's own, of no common base
            raise damaged(self.state_path) from error
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
        self.errors = [(int(step), float(value)) for step, value in state["errors"]]
        self.best = state["best"]

    def go(self, cases: Callable[[int], Feeds], tell: Callable[[QatStep], None]) -> None:
        """All steps that are left; the best weights are in the student afterwards.

        Args:
            cases: Gives the cases of each step from one on.
            tell: Called after each step.

        Raises:
            TrainingInterrupted: Ctrl-C or a signal; the state is kept.
            DivergedError: The loss is not finite, or validation became far worse. The best weights
                are in the student all the same.
        """
        interrupted = InterruptFlag()
        try:
            with interrupted:
                if not self.errors:
                    self._validate()
                feeds = cases(self.step)
                while self.share < 1:
                    loss = self._timed_step(next(feeds))
                    self._validate_in_time()
                    tell(QatStep(self.step, self.share, loss, self.errors[-1][1]))
                    if interrupted.raised is not None:
                        save_state(self.state_path, self._state())
                        raise TrainingInterrupted(self.state_path, self.step, interrupted.raised)
        finally:
            self.student.load_state_dict(self.best)

    def _timed_step(self, cases: list[dict[str, Tensor]]) -> float:
        begun, share = self._clock(), self.share
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * _rate(share)
        loss = self._learn(cases)
        self.step += 1
        self.seconds += self._clock() - begun
        if not math.isfinite(loss):
            raise _diverged(self.step, f"a loss of {loss}")
        return loss

    def _learn(self, cases: list[dict[str, Tensor]]) -> float:
        """One step of the optimiser; its loss."""
        self.optimizer.zero_grad(set_to_none=True)
        total = self.lesson.take(cases)
        learned = [value for value in self.student.parameters() if value.grad is not None]
        torch.nn.utils.clip_grad_norm_(learned, _CLIP)
        if math.isfinite(total):
            self.optimizer.step()
        return total

    def _validate_in_time(self) -> None:
        due = math.floor(self.share * VALIDATIONS)
        if len(self.errors) <= due:
            self._validate()
            save_state(self.state_path, self._state())
            first = self.errors[0][1]
            if all(error > DIVERGED * first for _, error in self.errors[-2:]):
                raise _diverged(
                    self.step, f"{self.errors[-1][1]:.3g} on validation after {first:.3g}"
                )

    def _validate(self) -> None:
        error = self.validation.error(self.student)
        if not self.errors or error < self.least_error:
            self.best = self.student.state_dict()
        self.errors.append((self.step, error))

    def _state(self) -> Mapping[str, Any]:
        return {
            "step": self.step,
            "seconds": self.seconds,
            "errors": self.errors,
            "run": repr(self.options.described()),
            "student": self.student.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
        }


def _rate(share: float) -> float:
    """The rate at a share of the run, in shares of its peak."""
    if share < WARMUP_SHARE:
        return (share + LEAST_SHARE) / (WARMUP_SHARE + LEAST_SHARE)
    falling = 0.5 * (1 + math.cos(math.pi * (share - WARMUP_SHARE) / (1 - WARMUP_SHARE)))
    return LEAST_SHARE + (1 - LEAST_SHARE) * falling


def _diverged(step: int, got: str) -> DivergedError:
    return DivergedError(
        f"fine-tuning step {step}",
        got=got,
        expected="a student that comes nearer to its teacher",
        fix="Lower --lr, or look for images that are not like those of the training.",
    )
