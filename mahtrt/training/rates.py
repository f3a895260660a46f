"""Learning rates: PyTorch's schedulers, set up for one stage of a training."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LinearLR, ReduceLROnPlateau

from mahtrt.training.recipe import Recipe, Span

WARMUP_SHARE = 0.05
LEAST_SHARE = 0.01  # of the peak, at the end
_PLATEAU_PATIENCE = 3  # validations
_PLATEAU_FACTOR = 0.5


def learning_rate_at(step: int, steps: int, peak: float) -> float:
    """Linear warm-up, then half a cosine down to 1% of the peak."""
    warmup = max(1, round(steps * WARMUP_SHARE))
    if step < warmup:
        return peak * (step + 1) / warmup
    share = (step - warmup) / max(1, steps - warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * share))
    return peak * (LEAST_SHARE + (1 - LEAST_SHARE) * cosine)


class Rates:
    """The learning rates of one stage.

    Args:
        optimizer: Its groups say in ``part`` which part of the network they are of.
        span: The stage and its steps.
        peak: Largest rate of a part whose multiple is 1.
    """

    def __init__(self, optimizer: Optimizer, recipe: Recipe, span: Span, peak: float) -> None:
        self._optimizer = optimizer
        steps, groups = span.last - span.first, optimizer.param_groups
        peaks = [peak * span.stage.rates.get(group["part"], 1.0) for group in groups]
        for group, rate in zip(groups, peaks, strict=True):
            group["lr"] = group["initial_lr"] = rate if recipe.falls else 1.0
        self._plateau: ReduceLROnPlateau | None = None
        if recipe.falls:
            warmup = max(1, round(steps * WARMUP_SHARE))
            self._steps: Any = LinearLR(optimizer, 1 / warmup, total_iters=warmup - 1 or 1)
            least = [LEAST_SHARE * rate for rate in peaks]
            self._plateau = ReduceLROnPlateau(
                optimizer, factor=_PLATEAU_FACTOR, patience=_PLATEAU_PATIENCE, min_lr=least
            )
        else:
            rates: list[Callable[[int], float]] = [
                functools.partial(learning_rate_at, steps=steps, peak=each) for each in peaks
            ]
            self._steps = LambdaLR(optimizer, rates)

    def after_step(self) -> None:
        with warnings.catch_warnings():  # a first step may be left out where FP16 overflows
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)
            self._steps.step()

    def after_validation(self, loss: float) -> None:
        if self._plateau is not None:
            self._plateau.step(loss)

    def of_parts(self) -> dict[str, float]:
        """The present rate of each part."""
        return {group["part"]: group["lr"] for group in self._optimizer.param_groups}

    def state_dict(self) -> dict[str, Any]:
        plateau = None if self._plateau is None else self._plateau.state_dict()
        return {"steps": self._steps.state_dict(), "plateau": plateau}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._steps.load_state_dict(state["steps"])
        if self._plateau is not None:
            self._plateau.load_state_dict(state["plateau"])
