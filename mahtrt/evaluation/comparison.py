"""Whether one network is better than another on the same cases: a paired interval and test.

What is compared is a mean per case, lower being better. The interval is that of the paired
bootstrap over cases (:mod:`mahtrt.measure.bootstrap`); the test is Wilcoxon's signed-rank test on
the differences per case ("Individual Comparisons by Ranking Methods", 1945), two-sided. With more
than two networks the p-values are corrected by Holm's step-down method ("A Simple Sequentially
Rejective Multiple Test Procedure", 1979), within each measure.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from mahtrt.bundle.records import Interval
from mahtrt.errors import require
from mahtrt.evaluation.answers import Answers, Floats
from mahtrt.evaluation.scores import decided_wrong
from mahtrt.measure.bootstrap import Bootstrap


@dataclass(frozen=True, slots=True)
class Comparison:
    """One network beside another on one measure.

    Attributes:
        first, second: Names of the networks.
        measure: ``mre_mm``, ``mre_px``, ``visibility_error``, ``map_mae`` or ``label_error``.
        cases: How many cases both were judged on.
        difference: Mean of the second minus mean of the first; below 0 the second is better. It is
            infinite where one of them is broken, and NaN where both are.
        interval: Its 95% interval; None with fewer than eight cases.
        p_value: Result of the signed-rank test; 1 where no case differs.
        p_holm: Corrected for the number of pairs.
    """

    first: str
    second: str
    measure: str
    cases: int
    difference: float
    interval: Interval | None
    p_value: float
    p_holm: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare(networks: Mapping[str, Answers], *, seed: int = 0) -> tuple[Comparison, ...]:
    """Every pair of networks, on every measure that both have.

    Args:
        networks: Name to answers to the same cases, in the same order.
        seed: Seed of the bootstrap.

    Raises:
        MissingComponentError: scipy is not installed.
    """
    found: list[Comparison] = []
    bootstrap = Bootstrap(seed)
    for measure in ("mre_mm", "mre_px", "visibility_error", "map_mae", "label_error"):
        costs = {name: costs_per_case(answers)[measure] for name, answers in networks.items()}
        if measure == "mre_px" and any(each.measure == "mre_mm" for each in found):
            continue  # the same points in another unit
        pairs = [
            _compared(a, b, measure, (costs[a], costs[b]), bootstrap)
            for a, b in itertools.combinations(costs, 2)
            if _both_known(costs[a], costs[b]).any()
        ]
        corrected = holm([pair.p_value for pair in pairs])
        found += [replace(pair, p_holm=p) for pair, p in zip(pairs, corrected, strict=True)]
    return tuple(found)


def costs_per_case(answers: Answers) -> dict[str, Floats]:
    """Measure to (N, M) costs of the parts of each case, NaN where nothing is annotated."""
    return {
        "mre_mm": answers.errors_mm,
        "mre_px": answers.errors_px,
        "visibility_error": decided_wrong(
            answers.visibility, answers.visible, answers.visibility_from
        ),
        "map_mae": answers.map_errors[:, None],
        "label_error": decided_wrong(answers.probabilities, answers.labels, answers.label_from),
    }


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction: p-values that may each be held against the level of all of them."""
    order = np.argsort(p_values)
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def signed_rank_p(first: Floats, second: Floats) -> float:
    """P-value of Wilcoxon's signed-rank test of paired values (N,); 1 where all are equal.

    Raises:
        MissingComponentError: scipy is not installed.
    """
    stats = require("scipy.stats", extra="evaluate", needed_for="the signed-rank test")
    change = np.zeros(len(first))
    np.subtract(second, first, out=change, where=first != second)  # equal where both are broken
    return float(stats.wilcoxon(change).pvalue) if change.any() else 1.0


def _compared(
    first: str, second: str, measure: str, costs: tuple[Floats, Floats], bootstrap: Bootstrap
) -> Comparison:
    known = _both_known(*costs)
    ours, theirs = (np.where(known, each, np.nan) for each in costs)
    cases = known.any(axis=1)
    means = [np.nanmean(each[cases], axis=1) for each in (ours, theirs)]
    p_value = signed_rank_p(*means)
    return Comparison(
        first=first,
        second=second,
        measure=measure,
        cases=int(cases.sum()),
        difference=_difference(float(np.nanmean(ours)), float(np.nanmean(theirs))),
        interval=bootstrap.change(theirs, ours),
        p_value=p_value,
        p_holm=p_value,
    )


def _difference(first: float, second: float) -> float:
    return math.nan if math.isinf(first) and math.isinf(second) else second - first


def _both_known(first: Floats, second: Floats) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which costs both networks have; none where they have other parts."""
    if first.shape != second.shape:
        return np.zeros(first.shape, bool)
    return ~(np.isnan(first) | np.isnan(second))
