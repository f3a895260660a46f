"""A histogram of magnitudes that is filled in one pass, whatever the range turns out to be."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

BINS = 2048
_SMALLEST_LIMIT_LOG2 = -120  # keeps the bin width far from where floats lose their digits


class StreamingHistogram:
    """Counts of |x| in equal bins over [0, limit], in bounded memory.

    The limit is the power of two that holds the largest value so far; when a larger one comes it
    doubles and the bins are merged in pairs. Bin widths are therefore powers of two as well, so
    that no rounding happens and the counts do not depend on the order of the data: histograms of
    parts merge into exactly that of the whole.

    Attributes:
        limit: Upper edge of the last bin; 0.0 before a value other than zero was seen.
        zeros: How many values were exactly zero (they are in ``counts[0]`` too).
    """

    def __init__(self, bins: int = BINS) -> None:
        assert bins % 2 == 0, "bins are merged in pairs"
        # The last of these counts the values at the limit itself: once the limit doubles, they
        # belong to another bin than those just below it.
        self._counts: NDArray[np.int64] = np.zeros(bins + 1, np.int64)
        self.limit = 0.0
        self.zeros = 0

    @property
    def counts(self) -> NDArray[np.int64]:
        """(bins,) int64; the last bin includes the limit itself."""
        counts = self._counts[:-1].copy()
        counts[-1] += self._counts[-1]
        return counts

    @property
    def bins(self) -> int:
        """How many there are."""
        return len(self._counts) - 1

    @property
    def total(self) -> int:
        """How many values were added."""
        return int(self._counts.sum())

    @property
    def width(self) -> float:
        """Width of one bin."""
        return self.limit / self.bins

    def add(self, values: NDArray[np.floating]) -> None:
        """Count the magnitudes of finite values, of any shape."""
        magnitudes = np.abs(values, dtype=np.float64).ravel()
        if not magnitudes.size:
            return
        largest = float(magnitudes.max())
        assert math.isfinite(largest), "the caller refuses what is not finite"
        self.zeros += int(magnitudes.size - np.count_nonzero(magnitudes))
        if largest > self.limit:
            self._grow(largest)
        if self.limit == 0.0:
            self._counts[0] += magnitudes.size
            return
        places = (magnitudes / self.width).astype(np.int64)  # a division by a power of two
        self._counts += np.bincount(places, minlength=len(self._counts))

    def merge(self, other: StreamingHistogram) -> None:
        """Add the counts of another histogram of as many bins."""
        assert self.bins == other.bins
        other = other.copy()
        if other.limit > self.limit:
            self._grow(other.limit)
        elif self.limit > other.limit > 0.0:
            other._grow(self.limit)
        self._counts += other._counts
        self.zeros += other.zeros

    def _grow(self, largest: float) -> None:
        limit = math.ldexp(1.0, max(math.ceil(math.log2(largest)), _SMALLEST_LIMIT_LOG2))
        limit = limit if limit >= largest else 2 * limit  # log2 may round down
        if self.limit:
            # Far fewer than 32 doublings move everything to bin 0.
            for _ in range(min(32, round(math.log2(limit / self.limit)))):
                below = self._counts[:-1].reshape(-1, 2).sum(axis=1)
                at_limit = self._counts[-1:]  # of the old limit: the first bin above half
                beyond = np.zeros(len(below), np.int64)
                self._counts = np.concatenate([below, at_limit, beyond])
        self.limit = limit

    def copy(self) -> StreamingHistogram:
        """The histogram as it is now; 16 KiB."""
        twin = StreamingHistogram(self.bins)
        twin._counts, twin.limit, twin.zeros = self._counts.copy(), self.limit, self.zeros
        return twin

    def fraction_above(self, magnitude: float) -> float:
        """Share of the values beyond a magnitude, even within a bin."""
        total = self.total
        if not total or not self.limit:
            return 0.0
        counts = self.counts
        place = min(max(magnitude / self.width, 0.0), float(len(counts)))
        whole = int(place)
        above = float(counts[whole:].sum())
        if whole < len(counts):
            above -= (place - whole) * float(counts[whole])
        return above / total
