"""The limits of a control chart that hold a false-alarm rate with a reference of any size.

A chart is Page's cumulative sum (1954, *Continuous inspection schemes*): scores less an
*allowance* are added up, never below 0, and where the sum passes its *limit*, there is an alarm.
With a reference of n images the mean of scores of the same kind is itself unknown, by
:attr:`mahtrt.monitoring.scores.Scores.error`: limits for a known mean would raise false alarms
(Jensen et al. 2006, *Effects of parameter estimation on control chart properties*). So the chance
of an alarm is taken over all means that the reference leaves possible.

Given a mean, the time to an alarm is exponential to a good approximation, with the mean
``exp(t h) / (t d)``: h the limit, d the downward drift per image, t the root of
``E exp(t (score - allowance)) = 1`` (Siegmund 1985, *Sequential Analysis*, chapter 2, without the
overshoot, which makes it too short, and so the limit too high rather than too low).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from mahtrt.monitoring.scores import Kind, scores_of

SAME_KIND_IMAGES = 2_000
FALSE_ALARMS = 0.01  # chance of any alarm in so many images of the same kind
FOUND_IN_IMAGES = 200

Floats = NDArray[np.float64]

_ERRORS = np.linspace(-1.0, 6.0, 141)  # possible means, in deviations; below, no alarm is likely
_ALLOWANCES = 24  # that are tried
_HALVINGS = 50
_MOST_EXPONENT = 8.0
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
    scores = scores_of(images, ranks, kind)
    largest = float(scores.values.max())
    found: tuple[float, ChartLimits] | None = None
    for allowance in np.linspace(scores.error, min(largest, 0.3 + 6 * scores.error), _ALLOWANCES):
        rates = _rates(scores.values, scores.chances, scores.error, float(allowance))
        limit = _limit(*rates, scores.error, chance)
        if limit is None:
            continue
        limits = ChartLimits(float(allowance), limit)
        typical = limits.allowance + limit / _TYPICAL_IMAGES
        if limits.smallest_shift < largest and (found is None or typical < found[0]):
            found = typical, limits
    return found[1] if found else None


def _rates(
    values: Floats, chances: Floats, error: float, allowance: float
) -> tuple[Floats, Floats]:
    """Exponent and downward drift of the chart for each possible mean; 0 where it drifts up."""
    drift = allowance - _ERRORS * error
    steps = values[None] - drift[:, None]  # (E, C)
    low, high = np.zeros(len(drift)), np.full(len(drift), _MOST_EXPONENT)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = np.exp(middle[:, None] * steps) @ chances > 1
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.where(drift > 0, low, 0.0), drift


def _limit(exponents: Floats, drift: Floats, error: float, chance: float) -> float | None:
    """The lowest limit that holds a chance of alarms; None where none does."""
    weights = np.exp(-(_ERRORS**2) / 2)
    weights *= (_ERRORS[1] - _ERRORS[0]) / math.sqrt(2 * math.pi)

    def alarms(limit: float) -> float:
        per_image = exponents * np.maximum(drift, 0) * np.exp(-exponents * limit)
        odds = np.where(drift > 0, -np.expm1(-SAME_KIND_IMAGES * per_image), 1.0)
        return float(weights @ odds)

    low, high = 1.0, 400.0
    if alarms(high) > chance:
        return None
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if alarms(middle) > chance else (low, middle)
    return high
