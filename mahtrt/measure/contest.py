"""Whether one plan is faster than another, said so that noise does not decide.

Plans are timed in one interleaved run, and compared round by round: the ratio of two durations of
the same round cancels what the machine did to both. The median of the ratios comes with a 99%
bootstrap interval over the rounds (99 because a search asks dozens of times). Neighbouring rounds
resemble each other where a machine warms up or other work comes and goes, so whole blocks of rounds
are drawn, the longer the more they do, and the percentiles are expanded as for few images
(:mod:`mahtrt.measure.bootstrap`). Decisions look at the interval: a block goes *in* only when all
of the interval says that it pays, and *out* when the interval rules out that leaving it out costs
more than ``MARGIN``. Where the machine is too busy to tell, everything stays as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mahtrt.measure.bootstrap import expanded_interval
from mahtrt.measure.timing import Timings

MARGIN = 0.01  # of the latency; less is not worth a decision
_RESAMPLES = 1000
_UPPER = 0.995
_MOST_ALIKE = 0.9  # of what a correlation of neighbouring rounds is taken for
_LEAST_BLOCKS = 4

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ratio:
    """Duration of a candidate in durations of a reference: below 1 is faster.

    Attributes:
        median: Median over the rounds.
        low, high: 99% interval of it.
    """

    median: float
    low: float
    high: float

    @property
    def is_faster(self) -> bool:
        """Whether the candidate is faster beyond doubt."""
        return self.high < 1.0

    @property
    def is_no_slower(self) -> bool:
        """Whether the candidate costs no time, up to the margin beyond doubt."""
        return self.median <= 1.0 + MARGIN / 4 and self.high < 1.0 + MARGIN

    def __str__(self) -> str:
        return f"{self.median:.3f} [{self.low:.3f}, {self.high:.3f}]"


def ratio(candidate: Timings, reference: Timings, *, seed: int = 0) -> Ratio:
    """The ratio of two participants of one :func:`mahtrt.measure.timing.interleave`.

    Args:
        seed: Seed of the bootstrap.
    """
    ratios = np.array(candidate.samples_ms) / np.array(reference.samples_ms)  # (rounds,)
    rounds, length = len(ratios), _block_length(ratios)
    if rounds == 1:
        return Ratio(*(float(ratios[0]),) * 3)
    starts = np.random.default_rng(seed).integers(
        0, rounds, (_RESAMPLES, math.ceil(rounds / length), 1)
    )
    drawn = ((starts + np.arange(length)) % rounds).reshape(_RESAMPLES, -1)[:, :rounds]
    low, high = expanded_interval(np.median(ratios[drawn], axis=1), rounds / length, _UPPER)
    return Ratio(float(np.median(ratios)), low, high)


def _block_length(ratios: Floats) -> int:
    """How many neighbouring rounds are drawn together.

    The length that is best for overlapping blocks (Künsch, 1989) of a series in which each value
    takes a share of the one before; the share is the correlation of neighbours. 1 where they are
    not alike.
    """
    around = ratios - np.median(ratios)
    most = 3 * 1.4826 * float(np.median(np.abs(around)))  # one stalled call is no correlation
    around = np.clip(around, -most, most)
    around -= around.mean()
    squares = float((around**2).sum())
    if not squares:
        return 1
    # Few values look less alike than they are, by about one part in their number.
    alike = float((around[1:] * around[:-1]).sum()) / squares + 1 / len(ratios)
    if alike <= 0:
        return 1
    alike = min(alike, _MOST_ALIKE)
    best: float = (math.sqrt(6) * alike / (1 - alike**2)) ** (2 / 3) * len(ratios) ** (1 / 3)
    longest = max(1, len(ratios) // _LEAST_BLOCKS)
    return min(math.ceil(best), longest)
