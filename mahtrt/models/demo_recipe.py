"""How long a family's ``nano`` is trained in ``mahtrt demo``, where no checkpoint is shipped."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DemoRecipe:
    """A training of one to two minutes on two cores, on the family's own synthetic data.

    Attributes:
        steps: Optimiser steps.
        batch_size: Cases per step.
        learning_rate: Peak of the learning rate.
    """

    steps: int
    batch_size: int = 16
    learning_rate: float = 1e-3
