"""Averaged weights: PyTorch's averages, for networks of several inputs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from mahtrt.training.cases import Batch
from mahtrt.training.recipe import Recipe

SWA_FROM = 0.75  # of the steps


class WeightAverage:
    """The average of a network's weights over the steps of a training.

    Batch-norm statistics belong to single weights: they are taken anew for the average
    (:meth:`settle`).

    Args:
        module: The network under training.
        recipe: Which average.
        steps: Steps of the whole training.
    """

    def __init__(self, module: nn.Module, recipe: Recipe, steps: int) -> None:
        decay = get_ema_multi_avg_fn(recipe.average_decay) if recipe.average == "ema" else None
        self._averaged = AveragedModel(module, multi_avg_fn=decay)
        self._first = round(SWA_FROM * steps) if recipe.average == "swa" else 0

    @property
    def module(self) -> nn.Module:
        """The network with averaged weights."""
        module: nn.Module = self._averaged.module
        return module

    @property
    def has_begun(self) -> bool:
        return bool(self._averaged.n_averaged > 0)

    def after_step(self, step: int, module: nn.Module) -> None:
        """Take the weights after a step, counted from 0, into the average."""
        if step >= self._first:
            self._averaged.update_parameters(module)

    def settle(self, batches: Iterable[Batch]) -> None:
        """Measure the batch-norm statistics of the averaged weights."""
        update_bn(((batch.images,) for batch in batches), _OneArgument(self.module))

    def state_dict(self) -> dict[str, Any]:
        return self._averaged.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._averaged.load_state_dict(state)


class _OneArgument(nn.Module):
    """A network whose images come as one argument, as PyTorch's update_bn gives them."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: tuple[Tensor, ...]) -> Any:
        return self.module(*images)
