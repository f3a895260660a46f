"""Scores of new values against a few reference values, whatever their distribution is.

The n reference values of a statistic cut the line into cells. Of a new value of the same kind only
its cell counts, and the chances of the cells do not depend on the distribution: jointly they are a
Dirichlet variable, whose parameters are how many of the n + 1 gaps between reference values each
cell holds (Wilks 1941, *Determination of sample sizes for setting tolerance limits*). So everything
that follows is exact for images that are independent of each other, for a reference of any size:

- The **place score** of a cell is the normal quantile of its middle (van der Waerden 1952): near
  0 on average for images of the same kind, above where values are larger.
- The **width score** is its square, standardised (Klotz 1962): above 0 on average where values lie
  further outside than those of the reference.

A reference is a sample too: with it, the average of new scores of the same kind is not 0 but has
the deviation :attr:`Scores.error`. :mod:`mahtrt.monitoring.limits` reckons with that.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mahtrt.bundle.reference_statistics import StatisticRecord

Kind = Literal["place", "width"]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """The scores of the cells of a statistic; their mean is 0.

    Attributes:
        images: Reference values, n.
        chances: (C,) expected chance of each cell.
        values: (C,) score of each cell.
    """

    images: int
    chances: Floats
    values: Floats

    @property
    def error(self) -> float:
        """Deviation of the mean of new scores that comes from the reference's own values."""
        return float(np.sqrt(self.chances @ self.values**2 / (self.images + 2)))


@cache
def scores_of(images: int, ranks: tuple[int, ...], kind: Kind) -> Scores:
    """The scores of the cells between kept reference values.

    Args:
        images: Reference values, n.
        ranks: Ranks of those that are kept, ascending, from 1.
        kind: Whether the place of values is scored, or how far outside they lie.
    """
    edges = np.array([0, *ranks, images + 1]) / (images + 1)
    chances = np.diff(edges)
    normal = NormalDist()
    places = np.array([normal.inv_cdf(middle) for middle in (edges[:-1] + edges[1:]) / 2])
    values = places - chances @ places
    if kind == "width":
        squares = values**2
        values = squares - chances @ squares
        values /= np.sqrt(chances @ values**2) or 1.0
    return Scores(images, chances, values)


class Scorer:
    """Scores new values of one statistic; plain lists, for a value or two at a time.

    Args:
        record: The reference.
        step: How near two values count as equal, in the statistic's own unit.
    """

    def __init__(self, record: StatisticRecord, step: float) -> None:
        self._knots, self._step = list(record.knots), step
        place = scores_of(record.images, record.ranks, "place")
        width = scores_of(record.images, record.ranks, "width")
        self._chances = [0.0, *np.cumsum(place.chances).tolist()]
        self._places = [0.0, *np.cumsum(place.chances * place.values).tolist()]
        self._widths = [0.0, *np.cumsum(width.chances * width.values).tolist()]

    def score(self, value: float) -> tuple[float, float]:
        """The scores of a value: of its place, and of how far outside it lies."""
        first = bisect_left(self._knots, value - self._step)
        last = bisect_right(self._knots, value + self._step) + 1
        # Of a value that could be in several cells, the mean over them.
        chance = self._chances[last] - self._chances[first]
        place = self._places[last] - self._places[first]
        return place / chance, (self._widths[last] - self._widths[first]) / chance
