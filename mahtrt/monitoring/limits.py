"""The limits of a control chart that hold a false-alarm rate with a reference of any size.

A chart is Page's cumulative sum (1954, *Continuous inspection schemes*): scores less an
*allowance* are added up, never below 0, and where the sum reaches its *limit*, there is an alarm.
With a reference of n images the mean of scores of the same kind is itself unknown, and limits for
a known mean would raise false alarms (Jensen et al. 2006, *Effects of parameter estimation on
control chart properties*). So the chance of an alarm is taken over all means that the reference
leaves possible (:mod:`mahtrt.monitoring.reference_error`).

Given the chances of the cells, the time to an alarm is exponential to a good approximation, with
the mean ``exp(t h) / (t d)``: h the limit, d the downward drift per image, t the root of
``E exp(t (score - allowance)) = 1`` (Siegmund 1985, *Sequential Analysis*, chapter 2, without the
overshoot, which makes it too short, and so the limit too high rather than too low).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from mahtrt.monitoring.reference_error import PossibleMeans, possible_means
from mahtrt.monitoring.scores import Kind, scores_of

SAME_KIND_IMAGES = 2_000
FALSE_ALARMS = 0.001  # chance of any alarm in so many images of the same kind
FOUND_IN_IMAGES = 200

Floats = NDArray[np.float64]

_ALLOWANCES = 16  # that are tried
_HALVINGS = 32
_MOST_EXPONENT = 8.0
_MOST_LIMIT = 400.0
# Between a shift that is just found within so many images and one that is found earlier.
_TYPICAL_IMAGES = 100


@dataclass(frozen=True, slots=True)
class ChartLimits:
    """How a chart of scores in one direction is kept.

    Attributes:
        allowance: What is taken off each score.
        limit: Sum from which there is an alarm.
    """

    allowance: float
    limit: float

    @property
    def smallest_shift(self) -> float:
        """Mean score that is found within :data:`FOUND_IN_IMAGES` images, as a rule."""
        return self.allowance + self.limit / FOUND_IN_IMAGES


@cache
def chart_limits(
    images: int, ranks: tuple[int, ...], kind: Kind, chance: float
) -> ChartLimits | None:
    """The limits of a chart by which the smallest shift is found.

    Args:
        images, ranks, kind: As for :func:`mahtrt.monitoring.scores.scores_of`.
        chance: Chance of an alarm within :data:`SAME_KIND_IMAGES` images of the same kind.

    Returns:
        None where the reference is too small for any shift to be found.
    """
    scores, means = scores_of(images, ranks, kind), possible_means(images, ranks, kind)
    largest = float(scores.values.max())
    found: tuple[float, ChartLimits] | None = None
    for allowance in np.linspace(scores.error, min(largest, 0.3 + 8 * scores.error), _ALLOWANCES):
        exponents = _exponents(scores.values, means, float(allowance))
        limit = _limit(exponents, means, float(allowance), chance)
        if limit is None:
            continue
        limits = ChartLimits(float(allowance), limit)
        typical = limits.allowance + limit / _TYPICAL_IMAGES
        if limits.smallest_shift < largest and (found is None or typical < found[0]):
            found = typical, limits
    return found[1] if found else None


def _exponents(values: Floats, means: PossibleMeans, allowance: float) -> Floats:
    """Exponent of the chart for each possible mean; 0 where the sum drifts up."""
    steps = values - allowance
    low, high = np.zeros(len(means.means)), np.full(len(means.means), _MOST_EXPONENT)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = (np.exp(middle[:, None] * steps) * means.chances).sum(axis=1) > 1
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.where(means.means < allowance, low, 0.0)


def _limit(
    exponents: Floats, means: PossibleMeans, allowance: float, chance: float
) -> float | None:
    """The lowest limit that holds a chance of alarms; None where none does."""
    drift = np.maximum(allowance - means.means, 0)

    def alarms(limit: float) -> float:
        per_image = exponents * drift * np.exp(-exponents * limit)
        odds = np.where(drift > 0, -np.expm1(-SAME_KIND_IMAGES * per_image), 1.0)
        return float(means.weights @ odds)

    low, high = 1.0, _MOST_LIMIT
    if alarms(high) > chance:
        return None
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if alarms(middle) > chance else (low, middle)
    return high
