"""Sets of blocks worth measuring, from what each block alone gains and costs.

The cost of several blocks together is taken for the root of the sum of their squared costs, as if
their errors were independent. That is a guess, and only decides what is measured first.

Where the engine computes in half precision, every block costs something whatever is chosen. Then
each block takes what is best at a *price* (milliseconds per squared pixel): the fewest milliseconds
and price times squared cost together. Prices from nothing to infinity give the plans from the
fastest to the most faithful one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mahtrt.measure.distances import Unit, common, unit_in_words
from mahtrt.measure.limits import Limits
from mahtrt.planning.blocks import Candidate, decidable, in_fp32
from mahtrt.planning.matrix import BlockRow

ALL_FLOAT = "all-float"
ALL_INT8 = "all-INT8"
RULES_PLAN = "rules' plan"
BIG_CONVOLUTIONS = "big convolutions"
ALL_FP32 = "all-FP32"
BY_PRICE = "each block at one price"
BASELINES = (ALL_FLOAT, ALL_INT8, RULES_PLAN, BIG_CONVOLUTIONS)

BIG_SHARE = 0.02  # of the graph's arithmetic, for a block of big convolutions
_MOST = 0.8  # of the gain
_LEAST_COST_PX = 1e-4  # below it costs are rounding, and no reason to prefer a block

Chosen = tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Knowledge:
    """What is known of each block alone.

    Attributes:
        candidates: All blocks, in the order of the graph.
        allowed: Names of those that may be INT8.
        gains_ms: Name -> what INT8 saves.
        costs_px: Name -> (K,) mean distance of each target, a landmark's in pixels.
        units: Units of the K targets; none where all are landmarks.
        half_costs_px: As ``costs_px``, of blocks in the engine's half precision. Empty where it
            computes in FP32, or where that was not measured: then no block is kept in FP32.
        keepable: Names of blocks that the target can keep in FP32 beside half precision.
    """

    candidates: Sequence[Candidate]
    allowed: Chosen
    gains_ms: Mapping[str, float]
    costs_px: Mapping[str, NDArray[np.float64]]
    units: tuple[Unit, ...] = ()
    half_costs_px: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    keepable: Chosen = ()

    @property
    def is_half(self) -> bool:
        """Whether half precision has a cost, and FP32 is a choice."""
        return bool(self.half_costs_px)

    @property
    def all_fp32(self) -> Chosen:
        """Every block in FP32, which is no matter of what the target can keep apart."""
        return tuple(in_fp32(c.name) for c in self.candidates)

    def cost_px(self, name: str) -> float:
        """Mean distance over the targets, in the unit that they have in common."""
        return float(common(self.costs_px[name], self.units).mean())

    def cost_in_words(self, name: str) -> str:
        """:meth:`cost_px` with its unit."""
        return f"{self.cost_px(name):.4f} {unit_in_words(self.units)}"

    def half_cost_in_words(self, name: str) -> str:
        """:meth:`half_cost_px` with its unit."""
        return f"{self.half_cost_px(name):.4f} {unit_in_words(self.units)}"

    def worth(self, name: str) -> float:
        """Milliseconds gained per pixel moved."""
        return self.gains_ms.get(name, 0.0) / max(self.cost_px(name), _LEAST_COST_PX)

    def half_cost_px(self, name: str) -> float:
        """As :meth:`cost_px`, of a block in half precision; 0 where that is not known."""
        costs = self.half_costs_px.get(name)
        return 0.0 if costs is None else float(common(costs, self.units).mean())

    def is_beside(self, name: str, chosen: Collection[str]) -> bool:
        """Whether the block just before or behind another one is INT8."""
        names = [candidate.name for candidate in self.candidates]
        at = names.index(name)
        return any(
            each in chosen for each in (*names[max(at - 1, 0) : at], *names[at + 1 : at + 2])
        )

    def in_order(self, names: Iterable[str]) -> Chosen:
        """The options in the order of the graph."""
        wanted = set(names)
        options = ((c.name, in_fp32(c.name)) for c in self.candidates)
        return tuple(option for both in options for option in both if option in wanted)

    def ranked(self, names: Iterable[str]) -> list[str]:
        """Best worth first; ties in the order of the graph."""
        return sorted(self.in_order(names), key=lambda name: -self.worth(name))


def costs_from(rows: Iterable[BlockRow]) -> dict[str, NDArray[np.float64]]:
    """Name -> (K,) mean displacement, of every block of a matrix."""
    return {row.name: np.array([cell.mean_px for cell in row.cells]) for row in rows}


def baselines(known: Knowledge) -> dict[str, Chosen]:
    """What a planner has to beat: no INT8, all that may be, the rules' plan, big convolutions.

    And all in FP32, where blocks may be kept there. Where none may be INT8, only what has none.
    """
    by_rules = [c for c in decidable(known.candidates) if not c.ruled_out]
    exact = {ALL_FP32: known.all_fp32} if known.is_half else {}
    if not known.allowed:
        return {**exact, ALL_FLOAT: ()}
    return exact | {
        ALL_FLOAT: (),
        ALL_INT8: known.in_order(known.allowed),
        RULES_PLAN: tuple(c.name for c in by_rules),
        BIG_CONVOLUTIONS: tuple(c.name for c in by_rules if c.convolution_share >= BIG_SHARE),
    }


def proposals(known: Knowledge, limits: Limits) -> dict[str, Chosen]:
    """Sets to measure first, likely within the limits."""
    gaining = [name for name in known.ranked(known.allowed) if known.gains_ms.get(name, 0.0) > 0]
    greedy = fill(known, gaining, limits)
    ruled_out = {c.name for c in known.candidates if c.ruled_out}
    return {
        "every block that gains": greedy,
        "most of the gain": _most_of_the_gain(known, greedy),
        "rules, where they gain": known.in_order(n for n in greedy if n not in ruled_out),
    }


def priced(known: Knowledge) -> list[Chosen]:
    """The plans of all prices, from the fastest to the most faithful one."""
    points: set[float] = set()  # prices at which some block changes
    for candidate in known.candidates:
        levels = list(_levels(known, candidate.name).values())
        for ms, square in levels:
            points |= {
                (other_ms - ms) / (square - other_square)
                for other_ms, other_square in levels
                if other_ms > ms and other_square < square
            }
    ordered = sorted(points)
    between = [(low + high) / 2 for low, high in pairwise(ordered)]
    prices = [0.0, *between, *(2 * price for price in ordered[-1:])]
    plans = [_at_price(known, price) for price in prices]
    return list(dict.fromkeys([*plans, known.all_fp32]))


def _at_price(known: Knowledge, price: float) -> Chosen:
    """The best option of each block at a price."""
    chosen = []
    for candidate in known.candidates:
        levels = _levels(known, candidate.name)
        worth = {option: ms + price * square for option, (ms, square) in levels.items()}
        chosen.append(min(worth, key=worth.__getitem__))
    return known.in_order(chosen)


def _levels(known: Knowledge, name: str) -> dict[str, tuple[float, float]]:
    """What a block can be -> milliseconds against half precision, and squared pixels."""
    levels = {"": (0.0, known.half_cost_px(name) ** 2)}
    if name in known.allowed:
        levels[name] = (-known.gains_ms.get(name, 0.0), known.cost_px(name) ** 2)
    if known.is_half and name in known.keepable:
        levels[in_fp32(name)] = (-known.gains_ms.get(in_fp32(name), 0.0), 0.0)
    return levels


def fill(known: Knowledge, ranked: Sequence[str], limits: Limits) -> Chosen:
    """Blocks in their rank, as long as the guess stays within the limits of means.

    Lengths in mm, errors against annotations, SSIM and agreement do not add up, so that they are
    only measured.
    """
    chosen: list[str] = []
    squares: NDArray[np.float64] | float = 0.0
    for name in ranked:
        more = squares + known.costs_px[name] ** 2
        guess = np.sqrt(more)
        if _is_within(guess, known.units, limits):
            chosen.append(name)
            squares = more
    return known.in_order(chosen)


def _is_within(guess: NDArray[np.float64], units: Sequence[Unit], limits: Limits) -> bool:
    """Whether the distances of the targets (K,) are within the limits of landmarks and of maps."""
    kinds = np.array(units or ["px"] * len(guess))
    moved, maps, logits = (guess[kinds == unit] for unit in ("px", "map", "logit"))
    mean_px = limits.budget_px if limits.budget_mm is None else math.inf
    if moved.size and not (moved.mean() <= mean_px and moved.max() <= limits.worst_px):
        return False
    most_logit = math.inf if limits.logits_max is None else limits.logits_max
    return bool((maps <= limits.map_mean).all() and (logits <= most_logit).all())


def _most_of_the_gain(known: Knowledge, chosen: Chosen) -> Chosen:
    """The fewest blocks that make up most of the gain: every border between precisions costs."""
    wanted = _MOST * sum(known.gains_ms[name] for name in chosen)
    kept: list[str] = []
    for name in sorted(chosen, key=lambda n: -known.gains_ms[n]):
        if sum(known.gains_ms[n] for n in kept) < wanted:
            kept.append(name)
    return known.in_order(kept)
