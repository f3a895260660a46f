"""One training run: what its steps share, and what of it survives an interruption."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import Any

import torch
from torch import Tensor, nn

from mahtrt.data.datasets import is_phantom
from mahtrt.data.sample import Dataset
from mahtrt.errors import DataError, UsageError
from mahtrt.interrupt import interrupt_later
from mahtrt.models.network import Network
from mahtrt.training.average import WeightAverage
from mahtrt.training.batches import BatchPlan, TrainingSamples, training_batches
from mahtrt.training.cases import Batch
from mahtrt.training.losses.objective import Objective
from mahtrt.training.monitor import Monitor
from mahtrt.training.options import TrainOptions, described
from mahtrt.training.parts import freeze, parameter_groups, set_training
from mahtrt.training.precision import autocast, autocast_dtype, loss_scaler
from mahtrt.training.rates import Rates
from mahtrt.training.recipe import Span, spans_of
from mahtrt.training.state import (
    InterruptFlag,
    TrainingInterrupted,
    damaged,
    load_state,
    save_state,
    state_path,
)
from mahtrt.training.validation import Best, validation_loss

STATE_EVERY = 100
SETTLING_BATCHES = 16  # for the batch norms of averaged weights


@dataclass(frozen=True, slots=True)
class StepReport:
    """What a progress display shows after a step.

    Attributes:
        validation: Loss on the validation data, where it was measured after this step.
    """

    step: int
    steps: int
    loss: float
    validation: float | None = None


class Run:
    """The training of one network.

    Args:
        options: What to train and how.
        module: The network.
        dataset: What trains it.
        validation: What judges it meanwhile; None for nothing.
    """

    def __init__(
        self,
        options: TrainOptions,
        module: Network,
        dataset: Dataset,
        validation: Dataset | None = None,
    ) -> None:
        self.options, self.recipe, self.spec = options, options.recipe, module.spec
        self.device, self.validation = options.recipe.device, validation
        self.module = module.to(self.device).to(memory_format=torch.channels_last)
        self.samples = TrainingSamples(
            dataset, self.spec, augment=not is_phantom(options.data), seed=options.seed
        )
        self.num_samples = len(dataset)
        objective = functools.partial(Objective, self.spec, linear_heatmaps=module.linear_heatmaps)
        self.objective = objective(options.losses).to(self.device)
        self.judge = objective(options.losses.with_fixed_weights()).to(self.device)
        self.dtype = autocast_dtype(self.recipe.precision, self.device)
        self.scaler = loss_scaler(self.dtype, self.device)
        self.spans = spans_of(self.recipe, module.parameter_groups(), options.steps)
        self.parts = module.parameter_groups() if len(self.spans) > 1 else {}
        groups = parameter_groups(self.module, self.parts)
        if learned := list(self.objective.parameters()):
            groups.append({"params": learned, "part": "loss weights", "weight_decay": 0.0})
        self.optimizer = torch.optim.AdamW(groups, lr=1.0)
        self.average: WeightAverage | None = None
        if self.recipe.average != "none":
            self.average = WeightAverage(self.module, self.recipe, options.steps)
        self.best = Best()
        self.state_path = state_path(options.out)
        self._enter(self.spans[0])

    # The course of a run

    def settle(self, progress: Callable[[int, int], None] | None) -> None:
        """Run images through the network in training mode, so that batch norms know them."""
        self.module.train()
        with torch.no_grad():
            for done, batch in enumerate(self._first_batches(self.options.settle), start=1):
                self.module(*batch.images)
                if progress:
                    progress(done, self.options.settle)

    def loop(self, first_step: int, progress: Callable[[StepReport], None] | None) -> None:
        """All steps from one on, or until validation has not become better for long.

        Raises:
            TrainingInterrupted: Ctrl-C; the state is kept.
            DataError: The loss is not finite.
        """
        interrupted, monitor = InterruptFlag(), Monitor(self.recipe.log, first_step)
        steps = self.options.steps
        with interrupted:
            batches = self._batches(first_step)
            for step in range(first_step, steps):
                self._enter_stage_of(step)
                loss, terms = self._step(step, batches)
                monitor.note(step + 1, "loss", {"sum": loss, **terms})
                monitor.note(step + 1, "rate", {k or "all": v for k, v in self.rates_now.items()})
                validated = self._validate(step + 1)
                if validated is not None:
                    monitor.note(step + 1, "validation", {"loss": validated})
                if progress:
                    progress(StepReport(step + 1, steps, loss, validated))
                if interrupted.raised is not None or (step + 1) % STATE_EVERY == 0:
                    save_state(self.state_path, self._state(step + 1))
                if interrupted.raised is not None:
                    raise TrainingInterrupted(self.state_path, step + 1, interrupted.raised)
                if self._is_done(step + 1):
                    break
        monitor.close()

    def weights(self) -> dict[str, Tensor]:
        """What the training leads to: the best weights where validation chose, else the last."""
        if self.best.weights is not None:
            return self.best.weights
        kept = self._kept()
        return {name: value.cpu() for name, value in kept.state_dict().items()}

    def restore(self) -> int:
        """Load the state of an interrupted run; the step to go on with.

        Raises:
            CheckpointError: There is no state, or it is damaged.
            UsageError: The run had other options.
        """
        state = load_state(self.state_path, set(self._state(0)))
        if state["run"] != repr(described(self.options)):
            raise UsageError(
                "--resume",
                got=f"options {described(self.options)}",
                expected=f"those of the interrupted run, {state['run']}",
            )
        step = int(state["step"])
        try:
            self._enter_stage_of(max(0, step - 1), anew=True)  # the one it was kept in
            for name, part in self._lasting().items():
                part.load_state_dict(state[name])
        except Exception as error:  # PyTorch's own, of no common base
            raise damaged(self.state_path) from error
        return step

    # One step

    def _step(self, step: int, batches: Iterator[Batch]) -> tuple[float, dict[str, float]]:
        """One optimiser step; its loss, and the terms of it."""
        share, total, sums = self.recipe.accumulate, 0.0, dict[str, float]()
        set_training(self.module, self.parts, self.span.stage)
        self.optimizer.zero_grad(set_to_none=True)
        for part in range(share):
            # Dropout, the same on resume.
            torch.manual_seed(hash((self.options.seed, step * share + part)) % 2**31)
            loss, terms = self._loss(next(batches).to(self.device), step)
            self.scaler.scale(loss / share if share > 1 else loss).backward()
            total += float(loss.detach()) / share
            sums = {name: sums.get(name, 0.0) + value / share for name, value in terms.items()}
        if self.recipe.clip > 0:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.module.parameters(), self.recipe.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.rates.after_step()
        if self.average is not None:
            self.average.after_step(step, self.module)
        return total, sums

    def _loss(self, batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        with autocast(self.dtype, self.device):
            outputs = self.module(
                *(image.contiguous(memory_format=torch.channels_last) for image in batch.images)
            )
        if not all(bool(value.isfinite().all()) for value in outputs.values()):
            raise _diverged(step, "outputs that are not finite")
        loss, terms = self.objective(outputs, batch.targets)
        if not torch.isfinite(loss):
            raise _diverged(step, f"a loss of {loss.item()}")
        return loss, terms

    # Stages

    @property
    def rates_now(self) -> dict[str, float]:
        """The learning rate of each part, for the next step."""
        return self.rates.of_parts()

    def _enter_stage_of(self, step: int, *, anew: bool = False) -> None:
        span = next(span for span in self.spans if step < span.last or span is self.spans[-1])
        if span is not self.span or anew:
            self._enter(span)

    def _enter(self, span: Span) -> None:
        self.span: Span = span
        freeze(self.module, self.parts, span.stage)
        self.rates = Rates(self.optimizer, self.recipe, span, self.options.learning_rate)

    # Validation

    def _validate(self, done: int) -> float | None:
        """The loss on the validation data, where it is time for it."""
        is_time = done % self.recipe.validate_every == 0 or done == self.options.steps
        if self.validation is None or not is_time:
            return None
        kept = self._kept()
        loss = validation_loss(
            kept, self.judge, self.validation, self.options.batch_size, self.device
        )
        self.best.see(loss, kept.state_dict())
        self.rates.after_validation(loss)
        return loss

    def _is_done(self, done: int) -> bool:
        """Whether patience ended; it counts in the last stage."""
        patience = self.recipe.patience
        return 0 < patience <= self.best.stale and done > self.spans[-1].first

    def _kept(self) -> nn.Module:
        """The network as it would be written now."""
        if self.average is not None and self.average.has_begun:
            self.average.settle(self._first_batches(SETTLING_BATCHES))
            return self.average.module
        return self.module

    # Batches

    def _batches(self, first_step: int) -> Iterator[Batch]:
        options, share = self.options, self.recipe.accumulate
        plan = BatchPlan(
            self.num_samples,
            options.batch_size,
            first_step * share,
            options.steps * share,
            options.seed,
        )
        # Starting multiprocessing's tracker unblocks Ctrl-C, so it is started before. It has
        # to outlive the end of a terminal, which reaches all its processes.
        if options.workers:
            with interrupt_later():
                resource_tracker.ensure_running()
        with interrupt_later():  # workers are started, and must outlive a signal
            return iter(training_batches(self.samples, plan, workers=options.workers))

    def _first_batches(self, count: int) -> Iterable[Batch]:
        options = self.options
        plan = BatchPlan(self.num_samples, options.batch_size, 0, count, options.seed)
        batches = training_batches(self.samples, plan, workers=0)
        return (batch.to(self.device) for batch in itertools.islice(batches, count))

    # What survives an interruption

    def _lasting(self) -> dict[str, Any]:
        """Everything that changes from step to step."""
        parts: dict[str, Any] = {
            "model": self.module,
            "optimizer": self.optimizer,
            "rates": self.rates,
            "scaler": self.scaler,
            "objective": self.objective,
            "best": self.best,
        }
        return parts if self.average is None else {**parts, "average": self.average}

    def _state(self, step: int) -> dict[str, Any]:
        lasting = {name: part.state_dict() for name, part in self._lasting().items()}
        return {"step": step, "run": repr(described(self.options)), **lasting}


def _diverged(step: int, got: str) -> DataError:
    return DataError(
        f"training step {step + 1}",
        got=got,
        expected="finite numbers",
        fix="Lower --lr, or look for wrong annotations.",
    )
