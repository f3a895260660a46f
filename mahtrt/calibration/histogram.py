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
    that no rounding happens and the counts do not depend on the order of the data.

    Attributes:
        counts: (bins,) int64; the last bin includes the limit itself.
        limit: Upper edge of the last bin; 0.0 before a value other than zero was seen.
        zeros: How many values were exactly zero (they are in ``counts[0]`` too).
    """

    def __init__(self, bins: int = BINS) -> None:
        assert bins % 2 == 0, "bins are merged in pairs"
        self.counts: NDArray[np.int64] = np.zeros(bins, np.int64)
        self.limit = 0.0
        self.zeros = 0

    @property
    def total(self) -> int:
        """How many values were added."""
        return int(self.counts.sum())

    @property
    def width(self) -> float:
        """Width of one bin."""
        return self.limit / len(self.counts)

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
            self.counts[0] += magnitudes.size
            return
        places = np.minimum(magnitudes / self.width, len(self.counts) - 1).astype(np.int64)
        self.counts += np.bincount(places, minlength=len(self.counts))

    def _grow(self, largest: float) -> None:
        limit = math.ldexp(1.0, max(math.ceil(math.log2(largest)), _SMALLEST_LIMIT_LOG2))
        limit = limit if limit >= largest else 2 * limit  # log2 may round down
        if self.limit:
            # Far fewer than 32 doublings move everything to bin 0.
            for _ in range(min(32, round(math.log2(limit / self.limit)))):
                pairs = self.counts.reshape(-1, 2).sum(axis=1)
                self.counts = np.concatenate([pairs, np.zeros_like(pairs)])
        self.limit = limit

    def copy(self) -> StreamingHistogram:
        """The histogram as it is now; 16 KiB."""
        twin = StreamingHistogram(len(self.counts))
        twin.counts, twin.limit, twin.zeros = self.counts.copy(), self.limit, self.zeros
        return twin

    def fraction_above(self, magnitude: float) -> float:
        """Share of the values beyond a magnitude, even within a bin."""
        total = self.total
        if not total or not self.limit:
            return 0.0
        place = min(max(magnitude / self.width, 0.0), float(len(self.counts)))
        whole = int(place)
        above = float(self.counts[whole:].sum())
        if whole < len(self.counts):
            above -= (place - whole) * float(self.counts[whole])
        return above / total
