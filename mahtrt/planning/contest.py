"""Whether one plan is faster than another, said so that noise does not decide.

Plans are timed in one interleaved run, and compared round by round: the ratio of two durations of
the same round cancels what the machine did to both. The median of the ratios comes with a 99%
bootstrap interval over the rounds (99 because a search asks dozens of times), and decisions look
at the interval: a block goes *in* only when all of the interval says that it pays, and *out* when
the interval rules out that leaving it out costs more than ``MARGIN``. Where the machine is too busy
to tell, everything stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mahtrt.measure.timing import Timings

MARGIN = 0.01  # of the latency; less is not worth a decision
_RESAMPLES = 1000
_QUANTILES = (0.005, 0.995)


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
    drawn = np.random.default_rng(seed).integers(0, len(ratios), (_RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(ratios[drawn], axis=1), _QUANTILES)
    return Ratio(float(np.median(ratios)), float(low), float(high))
