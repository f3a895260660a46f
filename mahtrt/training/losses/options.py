"""Which losses a training adds up, and with which weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from mahtrt.errors import UsageError

HeatmapLoss = Literal["auto", "bce", "mse", "weighted-mse", "focal"]
CoordinateLoss = Literal["smooth-l1", "l1", "wing"]
MapLoss = Literal["l1", "mse", "bce", "focal"]
LabelLoss = Literal["bce", "focal"]
Weighting = Literal["fixed", "learned"]

# Terms of the sum and their weights. A term that a network has no output for is left out, and so is
# one of weight 0. The first three are sums over cells or axes, per landmark; the rest are means.
WEIGHTS: Mapping[str, float] = {
    "heatmap": 0.02,
    "coordinate": 0.2,
    "auxiliary": 0.5,
    "heatmap-ssim": 0.0,
    "visibility": 1.0,
    "map": 1.0,
    "map-ssim": 0.0,
    "label": 1.0,
}


@dataclass(frozen=True, slots=True)
class LossOptions:
    """What is minimised.

    Attributes:
        heatmap: ``auto`` takes ``bce`` for heatmaps that are probabilities, and ``weighted-mse``
            for those of a network that says they are not, or that is decoded by ``dark``.
        coordinate: Loss of coordinates in cells of the heatmap.
        map: Loss of the map, pixel by pixel; its structure is the term ``map-ssim``. Absolute
            differences have their minimum at a map of nothing where little changed, and stay there.
        label: Loss of the logits.
        weighting: ``learned`` weights every term by an uncertainty that is trained with it
            (:mod:`mahtrt.training.losses.weighting`), on top of the fixed weights.
        weights: Terms of :data:`WEIGHTS` whose weight is another.
        sigma: Standard deviation of the Gaussian targets, in heatmap cells; None takes that of the
            spec for ``dark``, and 1.5 otherwise.
    """

    heatmap: HeatmapLoss = "auto"
    coordinate: CoordinateLoss = "smooth-l1"
    map: MapLoss = "bce"
    label: LabelLoss = "bce"
    weighting: Weighting = "fixed"
    weights: Mapping[str, float] = field(default_factory=dict)
    sigma: float | None = None

    def check(self) -> None:
        """Refuse what no loss has.

        Raises:
            UsageError: A term that is not one, or a weight or sigma below 0.
        """
        for name, weight in self.weights.items():
            if name not in WEIGHTS:
                known = ", ".join(WEIGHTS)
                raise UsageError("--loss-weight", got=repr(name), expected=f"one of {known}")
            if not 0 <= weight < math.inf:
                raise UsageError(f"--loss-weight {name}", got=str(weight), expected="0 or more")
        if self.sigma is not None and not 0 < self.sigma < math.inf:
            raise UsageError("--sigma", got=str(self.sigma), expected="more than 0")

    def with_fixed_weights(self) -> LossOptions:
        """The same with weights that stay, so that losses can be compared over time."""
        return replace(self, weighting="fixed")
