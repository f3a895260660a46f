"""Strips: drawings without text, as wide as their place, that stand beside the numbers they show.

Positions are percentages of the width, so that one drawing serves every screen and paper, and text
keeps its size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_MOST_TICKS = 6
_SAME, _LEAST_RANGE = 1e-6, 1e-12  # of values, relative and absolute, that no drawing tells apart
_MARGIN = 0.04  # of the range, kept free beside the outermost marks


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis.

    Attributes:
        at: Percent of the width.
        text: What stands there.
    """

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear axis.

    Attributes:
        low, high: Values at its ends; ``low < high``.
        ticks: Round values on it.
    """

    low: float
    high: float
    ticks: tuple[Tick, ...]

    def at(self, value: float) -> float:
        """Percent of the width, held within the strip."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 3)


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing drawn on a strip.

    Attributes:
        shape: ``line`` (thin, from ``start`` to ``end``), ``bar`` (thick), ``dot``, ``tick`` (a
            stroke across) or ``rule`` (a stroke over the whole height).
        start, end: Percent of the width; a dot, tick or rule stands at ``start``.
        tone: Name of its colour.
    """

    shape: Literal["line", "bar", "dot", "tick", "rule"]
    start: float
    end: float = 0.0
    tone: str = "ink"

    @property
    def width(self) -> float:
        return round(max(self.end - self.start, 0.2), 3)


def axis_over(values: Iterable[float | None], *, zero: bool = False) -> Axis | None:
    """An axis that holds all values; None where there is no finite one.

    Args:
        zero: Whether it has to hold zero too.
    """
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return None
    low, high = min(known), max(known)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    size = max(abs(low), abs(high))
    if high - low <= _SAME * size:
        low, high = low - 0.1 * size, high + 0.1 * size
    if high - low < _LEAST_RANGE:
        high = low + _LEAST_RANGE
    room = (high - low) * _MARGIN
    low = low if zero and low == 0 else low - room
    high = high if zero and high == 0 else high + room
    return Axis(low, high, _ticks(low, high))


def _ticks(low: float, high: float) -> tuple[Tick, ...]:
    step = _round_step((high - low) / _MOST_TICKS)
    axis, ticks = Axis(low, high, ()), []
    for count in range(math.ceil(low / step), math.floor(high / step) + 1):
        # Of the product of two binary numbers, the digits that are no rounding error.
        text = f"{count * step:.6g}"
        ticks.append(Tick(axis.at(count * step), text.replace("-", "\N{MINUS SIGN}")))
    return tuple(ticks)


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * step for step in _STEPS if power * step >= least * (1 - 1e-9))


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of the ordered values do not exceed."""
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]
