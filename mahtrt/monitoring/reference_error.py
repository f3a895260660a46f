"""What the mean of scores can be, given that the reference is a sample itself.

The chances P of the cells between reference values are jointly a Dirichlet variable, so the mean
score is ``sum P a``, a the scores. It is above x where ``sum (a - x) G`` is above 0, G independent
gamma variables with the parameters of the Dirichlet: the tail of a weighted sum of gammas, which
the saddlepoint approximation gives to a percent even where it is tiny (Lugannani and Rice 1980;
here in the form r* of Barndorff-Nielsen 1991). A normal approximation is off by a factor of three
for the width score, whose mean is skewed. The same saddlepoint tells which chances of the cells
are likely where the mean is x: more weight on the cells that make it so.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from mahtrt.monitoring.scores import Kind, scores_of

Floats = NDArray[np.float64]

_FROM, _TO, _COUNT = -2.0, 10.0, 181  # in deviations; below, no alarm is likely
_HALVINGS = 60
_NEAR_ZERO = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class PossibleMeans:
    """Means that new scores of the same kind can have.

    Attributes:
        means: (E,) ascending; each stands for the range around it.
        weights: (E,) chance of each.
        chances: (E, C) likely chances of the cells where the mean is that.
    """

    means: Floats
    weights: Floats
    chances: Floats


@cache
def possible_means(images: int, ranks: tuple[int, ...], kind: Kind) -> PossibleMeans:
    """What the mean of scores can be; arguments as for :func:`mahtrt.monitoring.scores.scores_of`.

    Means so far up that no chart could hold them are left out, with a weight under 1e-9.
    """
    scores = scores_of(images, ranks, kind)
    edges = np.linspace(_FROM, _TO, _COUNT) * scores.error
    # A mean beyond all scores is impossible, and the saddlepoint is not defined there.
    edges = edges[(edges > scores.values.min()) & (edges < 0.98 * scores.values.max())]
    gammas = scores.chances * (images + 1)
    tails = _tails(gammas, scores.values - edges[:, None])
    means = (edges[:-1] + edges[1:]) / 2
    weights = np.maximum(tails[:-1] - tails[1:], 0)
    weights[-1] += tails[-1]
    return PossibleMeans(means, weights, _likely(gammas, scores.values - means[:, None]))


def _tails(gammas: Floats, steps: Floats) -> Floats:
    """(E,) the chance that ``sum steps G`` is above 0, for each row of ``steps`` (E, C)."""
    at = _saddlepoints(gammas, steps)
    inverse = 1 - at[:, None] * steps
    generating = -np.log(inverse) @ gammas
    curvature = (steps / inverse) ** 2 @ gammas
    signed = np.sign(at) * np.sqrt(np.maximum(0, -2 * generating))
    near = np.abs(signed) < _NEAR_ZERO
    safe = np.where(near, 1.0, signed)
    roots = safe + np.log(np.where(near, 1.0, at * np.sqrt(curvature) / safe)) / safe
    cdf = NormalDist().cdf
    return np.array([cdf(-root) for root in np.where(near, 0.0, roots).tolist()])


def _likely(gammas: Floats, steps: Floats) -> Floats:
    """(E, C) the chances of the cells that are likely where ``sum steps P`` is 0."""
    weights = gammas / (1 - _saddlepoints(gammas, steps)[:, None] * steps)
    chances: Floats = weights / weights.sum(axis=1, keepdims=True)
    return chances


def _saddlepoints(gammas: Floats, steps: Floats) -> Floats:
    """(E,) where the derivative of the cumulant generating function of ``sum steps G`` is 0."""
    low, high = 1 / steps.min(axis=1), 1 / steps.max(axis=1)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = (steps / (1 - middle[:, None] * steps)) @ gammas > 0
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.asarray((low + high) / 2, np.float64)
