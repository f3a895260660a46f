"""A small trainer: AdamW with warm-up and cosine decay, seeded, resumable.

It exists to make the demo checkpoint and to try the toolchain on the user's own images; it does
not compete with training frameworks.
"""

from __future__ import annotations

import io
import math
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mahtrt import files
from mahtrt.atomic import write_bytes_atomic
from mahtrt.data.datasets import is_phantom
from mahtrt.data.sample import Dataset
from mahtrt.destination import check_output
from mahtrt.errors import CheckpointError, DataError, UsageError
from mahtrt.interrupt import handled_signals, interrupt_later
from mahtrt.machine import describe_machine
from mahtrt.models.checkpoint import load_checkpoint, load_into, save_checkpoint
from mahtrt.models.families import build_model
from mahtrt.models.network import Network
from mahtrt.models.weights_file import MOST_FILE_BYTES, load_torch
from mahtrt.reading import Wanted, read_regular
from mahtrt.spec import ModelSpec
from mahtrt.training.annotations import open_training_data
from mahtrt.training.batches import BatchPlan, TrainingSamples, training_batches
from mahtrt.training.cases import Batch
from mahtrt.training.losses.objective import Objective
from mahtrt.training.options import TrainOptions

WARMUP_SHARE = 0.05
WEIGHT_DECAY = 0.02
MAX_GRADIENT_NORM = 5.0
STATE_EVERY = 100
_MOST_STATE_BYTES = 4 * MOST_FILE_BYTES  # the weights, and two moments of each


@dataclass(frozen=True, slots=True)
class StepReport:
    """What a progress display shows after a step."""

    step: int
    steps: int
    loss: float


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C or a signal; the state up to the last finished step is at ``state_path``."""

    def __init__(self, state_path: Path, step: int, number: int = signal.SIGINT) -> None:
        super().__init__(
            f"training stopped after step {step}; state kept in {state_path}, "
            "go on with the same command and --resume"
        )
        self.state_path, self.step, self.number = state_path, step, number


def train(
    options: TrainOptions,
    progress: Callable[[StepReport], None] | None = None,
    settling: Callable[[int, int], None] | None = None,
) -> ModelSpec:
    """Train a network and write its checkpoint.

    Args:
        options: What to train, on what, and where the result goes.
        progress: Called after each step.
        settling: Called with (batches done, batches in all) while batch norms settle.

    Returns:
        The spec of the network, as written into the checkpoint.

    Raises:
        DataError: The data set does not fit the network, or says nothing of what it should learn.
        CheckpointError: ``init`` or the state to resume from does not fit.
        UsageError: The run to resume had other options, or ``out`` is not a safetensors file.
        TrainingInterrupted: Ctrl-C; training can be resumed.
    """
    if options.out.suffix != ".safetensors":
        raise UsageError("--out", got=options.out.name, expected="a name ending in .safetensors")
    check_output(options.out)
    torch.manual_seed(options.seed)
    module = build_model(options.model, **options.overrides)
    dataset = open_training_data(options, module.spec)
    if options.init is not None:
        load_into(module, load_checkpoint(options.init))
    run = _Run(options, module, dataset)
    first_step = run.restore() if options.resume else 0
    if first_step == 0:
        run.settle(settling)
    run.loop(first_step, progress)
    notes = {"mahtrt.training": repr(_described(options))}
    save_checkpoint(options.out, module.state_dict(), module.spec, half=options.half, notes=notes)
    files.remove(run.state_path)
    return module.spec


def autocast_dtype() -> torch.dtype | None:
    """BF16 where this x86 CPU multiplies it natively; elsewhere it would only be slower."""
    machine = describe_machine()
    native = machine.multiplies_bf16 and "avx512" in machine.isa
    return torch.bfloat16 if native else None


def learning_rate_at(step: int, steps: int, peak: float) -> float:
    """Linear warm-up, then half a cosine down to 1% of the peak."""
    warmup = max(1, round(steps * WARMUP_SHARE))
    if step < warmup:
        return peak * (step + 1) / warmup
    share = (step - warmup) / max(1, steps - warmup)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))


class _Run:
    """One training run: the things its steps share."""

    def __init__(self, options: TrainOptions, module: Network, dataset: Dataset) -> None:
        self.options, self.spec = options, module.spec
        self.module = module.to(memory_format=torch.channels_last)
        self.samples = TrainingSamples(
            dataset, self.spec, augment=not is_phantom(options.data), seed=options.seed
        )
        self.num_samples = len(dataset)
        self.objective = Objective(
            self.spec, options.losses, linear_heatmaps=module.linear_heatmaps
        )
        self.optimizer = torch.optim.AdamW(
            _parameter_groups(self.module), lr=options.learning_rate, weight_decay=WEIGHT_DECAY
        )
        self.state_path = options.out.with_name(options.out.name + ".state.pt")

    def settle(self, progress: Callable[[int, int], None] | None) -> None:
        """Run images through the network in training mode, so that batch norms know them."""
        plan = BatchPlan(
            self.num_samples, self.options.batch_size, 0, self.options.settle, self.options.seed
        )
        self.module.train()
        with torch.no_grad():
            batches = training_batches(self.samples, plan, workers=0)
            for done, batch in enumerate(batches, start=1):
                self.module(*batch.images)
                if progress:
                    progress(done, self.options.settle)

    def loop(self, first_step: int, progress: Callable[[StepReport], None] | None) -> None:
        options = self.options
        plan = BatchPlan(
            self.num_samples, options.batch_size, first_step, options.steps, options.seed
        )
        interrupted = _InterruptFlag()
        with interrupted:
            # Starting multiprocessing's tracker unblocks Ctrl-C, so it is started before. It has
            # to outlive the end of a terminal, which reaches all its processes.
            if options.workers:
                with interrupt_later():
                    resource_tracker.ensure_running()
            with interrupt_later():  # workers are started, and must outlive a signal
                batches = iter(training_batches(self.samples, plan, workers=options.workers))
            for step, batch in enumerate(batches, start=first_step):
                torch.manual_seed(hash((options.seed, step)) % 2**31)  # dropout, on resume too
                loss = self._step(batch, step)
                if progress:
                    progress(StepReport(step + 1, options.steps, loss))
                if interrupted.raised is not None or (step + 1) % STATE_EVERY == 0:
                    self._save_state(step + 1)
                if interrupted.raised is not None:
                    raise TrainingInterrupted(self.state_path, step + 1, interrupted.raised)

    def _step(self, batch: Batch, step: int) -> float:
        rate = learning_rate_at(step, self.options.steps, self.options.learning_rate)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.module.train()
        dtype = autocast_dtype()
        with torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            outputs = self.module(
                *(image.contiguous(memory_format=torch.channels_last) for image in batch.images)
            )
        loss, _ = self.objective(outputs, batch.targets)
        if not torch.isfinite(loss):
            raise DataError(
                f"training step {step + 1}",
                got=f"a loss of {loss.item()}",
                expected="a finite one",
                fix="Lower --lr, or look for wrong annotations.",
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.module.parameters(), MAX_GRADIENT_NORM)
        self.optimizer.step()
        return float(loss.detach())

    def _save_state(self, step: int) -> None:
        state = {
            "step": step,
            "run": repr(_described(self.options)),
            "model": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        content = io.BytesIO()
        torch.save(state, content)
        write_bytes_atomic(self.state_path, content.getbuffer())

    def restore(self) -> int:
        """Load the state of an interrupted run; the step to go on with."""
        if not self.state_path.is_file():
            raise CheckpointError(
                str(self.state_path),
                got="no state of an interrupted run",
                expected="one to resume",
                fix="Start without --resume.",
            )
        state = self._load_state()
        if state["run"] != repr(_described(self.options)):
            raise UsageError(
                "--resume",
                got=f"options {_described(self.options)}",
                expected=f"those of the interrupted run, {state['run']}",
            )
        try:
            self.module.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            return int(state["step"])
        except Exception as error:  # PyTorch's own, of no common base
            raise self._damaged() from error

    def _load_state(self) -> dict[str, Any]:
        wanted = Wanted("the state of an interrupted run", CheckpointError)
        content = read_regular(self.state_path, wanted, _MOST_STATE_BYTES)
        try:
            state = load_torch(content, self.state_path)
        except CheckpointError as error:
            raise self._damaged() from error
        if not isinstance(state, dict) or not {"step", "run", "model", "optimizer"} <= set(state):
            raise self._damaged()
        return state

    def _damaged(self) -> CheckpointError:
        return CheckpointError(
            str(self.state_path),
            got="a damaged file",
            expected="the state of an interrupted run",
            fix="Start without --resume.",
        )


class _InterruptFlag:
    """Ctrl-C or a signal ends the run after the step under way instead of in its middle.

    Attributes:
        raised: The signal; None without one.
    """

    def __init__(self) -> None:
        self.raised: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        # In another thread, the caller handles signals.
        if threading.current_thread() is threading.main_thread():
            self._before = {n: signal.signal(n, self._set) for n in handled_signals()}

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _set(self, number: int, _frame: object) -> None:
        self.raised = number


def _parameter_groups(module: nn.Module) -> list[dict[str, Any]]:
    """Weight decay on matrices and kernels, none on biases and normalisation."""
    decayed = [p for p in module.parameters() if p.ndim > 1]
    rest = [p for p in module.parameters() if p.ndim <= 1]
    return [{"params": decayed}, {"params": rest, "weight_decay": 0.0}]


def _described(options: TrainOptions) -> dict[str, Any]:
    """The options that decide the result, as they go into checkpoint and state."""
    return {
        "model": options.model,
        "data": options.data if is_phantom(options.data) else Path(options.data).name,
        "steps": options.steps,
        "batch_size": options.batch_size,
        "learning_rate": options.learning_rate,
        "seed": options.seed,
        "settle": options.settle,
        "init": options.init.name if options.init else None,
        "points": options.points,
        "overrides": dict(options.overrides),
    }
