"""Weights of the terms of a loss: fixed, or learned with the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


class LearnedWeights(nn.Module):
    """Weights each term by an uncertainty that is trained with the network.

    ``sum of exp(-s) * term + s / 2`` with s the logarithm of a term's variance: what is uncertain
    counts less, and s / 2 keeps all from being called uncertain. Kendall, Gal and Cipolla,
    "Multi-Task Learning Using Uncertainty to Weigh Losses", CVPR 2018, in the form without the
    factor 1/2 of regression, which the fixed weights hold.

    Args:
        terms: Names of the terms.
    """

    def __init__(self, terms: Sequence[str]) -> None:
        super().__init__()
        self.log_variances = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros(())) for name in terms}
        )

    def forward(self, terms: Mapping[str, Tensor]) -> Tensor:
        """The sum of the terms, each of them already times its fixed weight."""
        parts = []
        for name, value in terms.items():
            log_variance = self.log_variances[name]
            parts.append(torch.exp(-log_variance) * value + log_variance / 2)
        return torch.stack(parts).sum()
