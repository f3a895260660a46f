"""Validation: the loss on images that do not train, the best weights, and when to stop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mahtrt.data.sample import Dataset
from mahtrt.models.wrapping import evaluating
from mahtrt.training.batches import case_from_sample
from mahtrt.training.cases import collate
from mahtrt.training.losses.objective import Objective


def validation_loss(
    module: nn.Module, objective: Objective, dataset: Dataset, batch_size: int, device: str
) -> float:
    """The mean loss of a network in eval mode, in FP32; infinite where an output is not finite.

    Args:
        objective: With fixed weights, so that losses can be compared over time.
        batch_size: Cases at a time.
    """
    total, spec = 0.0, objective.spec
    with evaluating(module), torch.no_grad():
        for start in range(0, len(dataset), batch_size):
            indices = range(start, min(start + batch_size, len(dataset)))
            batch = collate([case_from_sample(dataset[i], spec) for i in indices]).to(device)
            outputs = module(*batch.images)
            if not all(bool(value.isfinite().all()) for value in outputs.values()):
                return math.inf
            loss, _ = objective(outputs, batch.targets)
            total += float(loss) * len(indices)
    return total / len(dataset)


class Best:
    """The weights with the smallest validation loss, and for how long none was smaller.

    Attributes:
        loss: The smallest; infinite before the first.
        stale: Validations since then.
        weights: A state dict; None before the first.
    """

    def __init__(self) -> None:
        self.loss, self.stale = math.inf, 0
        self.weights: dict[str, Tensor] | None = None

    def see(self, loss: float, weights: Mapping[str, Tensor]) -> None:
        """Take a validation into account."""
        if loss < self.loss:
            self.loss, self.stale = loss, 0
            self.weights = {name: value.detach().cpu().clone() for name, value in weights.items()}
        else:
            self.stale += 1

    def state_dict(self) -> dict[str, Any]:
        return {"loss": self.loss, "stale": self.stale, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.loss, self.stale = float(state["loss"]), int(state["stale"])
        self.weights = state["weights"]
