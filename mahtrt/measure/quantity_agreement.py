"""How well an engine agrees with the reference in clinical quantities. Pure numpy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.bundle.records import Interval
from mahtrt.measure.bootstrap import Bootstrap
from mahtrt.measure.displacement import nearest_rank
from mahtrt.measure.quantities import Definition
from mahtrt.measure.quantity_kinds import Unit, mean_turn, within_half_turn
from mahtrt.schema import plain

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class QuantityAgreement:
    """One quantity over many images; differences are engine minus reference, in its unit.

    Attributes:
        images: How many images are compared: those in which the reference has a value.
        non_finite: In how many images the reference or the engine has none, as where a line has no
            length, or a point is not finite.
        reference_mean, engine_mean: Means over the images that are compared.
        bias: Mean difference; NaN where the engine has no value that the reference has.
        bias_interval: Its 95% interval over images; None for fewer than eight.
        spread: Standard deviation of the differences, with N - 1.
        p95: The absolute difference that 95% of the images do not exceed, by nearest rank.
        max: The largest absolute difference.
    """

    name: str
    unit: Unit
    images: int
    non_finite: int
    reference_mean: float
    engine_mean: float
    bias: float
    bias_interval: Interval | None
    spread: float
    p95: float
    max: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data, null for what is not known."""
        found: dict[str, Any] = plain(self)
        return found


def compare_quantity(
    definition: Definition, ours: Floats, theirs: Floats, bootstrap: Bootstrap, *, turn: bool
) -> QuantityAgreement:
    """Compare the values (N,) of an engine with the reference's, of images with what they need.

    Args:
        turn: Whether -180 and 180 degrees are the same (:meth:`.quantities.Quantities.turns`).

    Images in which the reference has no value are counted and left out. Where the engine alone has
    none, the difference is infinite, so that no average hides it.
    """
    known = np.isfinite(theirs)
    broken = known & ~np.isfinite(ours)
    apart = (ours - theirs)[known]
    if turn:
        apart = within_half_turn(apart)  # 179 and -179 degrees are 2 apart
    mean = mean_turn if turn else np.mean
    distance = np.where(np.isfinite(apart), np.abs(apart), np.inf)
    has_all, count = bool(known.any() and not broken.any()), len(apart)
    return QuantityAgreement(
        name=definition.name,
        unit=definition.unit,
        images=count,
        non_finite=int((~known).sum() + broken.sum()),
        reference_mean=float(mean(theirs[known])) if count else math.nan,
        engine_mean=float(mean(ours[known])) if has_all else math.nan,
        bias=float(apart.mean()) if has_all else math.nan,
        bias_interval=bootstrap.mean(apart[:, None]) if has_all else None,
        spread=float(apart.std(ddof=1)) if has_all and count > 1 else math.nan,
        p95=nearest_rank(distance, 95) if count else math.nan,
        max=float(distance.max()) if count else math.nan,
    )
