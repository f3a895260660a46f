"""Labels: what a network says of a whole image, each with a probability."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.measure.logits import label_names, logit, sigmoid
from mahtrt.spec import OutputSpec

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """The labels of one output of kind logits, for one image.

    Attributes:
        names: L names, numbers from 0 where the network names none.
        logits: (L,) float32, as the network gave them.
        threshold: Probability from which a label is present.
    """

    names: tuple[str, ...]
    logits: Array
    threshold: float = 0.5

    @property
    def probabilities(self) -> Array:
        """(L,) float32, the sigmoid of the logits; NaN where a logit is."""
        return sigmoid(self.logits).astype(np.float32)

    @property
    def present(self) -> NDArray[np.bool_]:
        """(L,) whether a label's probability is at least the threshold; False where it is NaN."""
        return np.asarray(self.logits >= logit(self.threshold), bool)

    def to_dict(self) -> list[dict[str, Any]]:
        """Plain data for JSON, a row per label; None where a number is not finite."""
        rows = zip(self.names, self.probabilities, self.logits, self.present, strict=True)
        return [
            {
                "name": name,
                "probability": _number(probability),
                "logit": _number(value),
                "present": bool(present),
            }
            for name, probability, value, present in rows
        ]


def labels_from_output(logits: Array, output: OutputSpec) -> Labels:
    """The labels of one image.

    Args:
        logits: (L,), or what has as many values.
    """
    values = np.asarray(logits, np.float32).reshape(-1)
    return Labels(label_names(output.labels, len(values)), values, output.threshold)


def _number(value: Any) -> float | None:
    number = float(value)
    return round(number, 4) if math.isfinite(number) else None
