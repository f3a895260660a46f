"""Scores of a network from its answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mahtrt.evaluation.answers import Answers, Floats
from mahtrt.measure.decisions import auroc


@dataclass(frozen=True, slots=True)
class Scores:
    """Means over all cases; None where the network has no such output, or nothing is annotated.

    Attributes:
        images: Number of cases.
        px: Mean radial error in image pixels.
        mm: The same in mm, over images whose spacing is known.
        visibility_accuracy: Share of landmarks whose visibility is told right at the threshold.
        map_mae: Mean absolute error of the map.
        auroc: Mean over the labels of the area under the ROC curve.
    """

    images: int
    px: float | None = None
    mm: float | None = None
    visibility_accuracy: float | None = None
    map_mae: float | None = None
    auroc: float | None = None

    def in_words(self) -> dict[str, str]:
        """What is known, by its name: ``{"MRE": "1.234 px, 0.123 mm"}``."""
        errors = ((self.px, "px"), (self.mm, "mm"))
        known = {
            "MRE": ", ".join(f"{value:.3f} {unit}" for value, unit in errors if value is not None),
            "visibility": _text(self.visibility_accuracy, "{:.1%} right"),
            "map MAE": _text(self.map_mae, "{:.4f}"),
            "AUROC": _text(self.auroc, "{:.3f}"),
        }
        return {name: text for name, text in known.items() if text}


def score(answers: Answers, visibility_threshold: float = 0.5) -> Scores:
    """The scores of one network on one data set."""
    known = ~np.isnan(answers.visible)
    right = (answers.visibility >= visibility_threshold) == (answers.visible > 0.5)
    return Scores(
        images=len(answers.names),
        px=_mean(answers.errors_px),
        mm=_mean(answers.errors_mm),
        visibility_accuracy=float(right[known].mean()) if known.any() else None,
        map_mae=_mean(answers.map_errors),
        auroc=mean_auroc(answers.probabilities, answers.labels),
    )


def mean_auroc(scores: Floats, labels: Floats) -> float | None:
    """The mean over labels (N, L) of how often a case with the label is above one without it.

    A label that no case has, or every case, is left out; None where none is left.
    """
    pairs = zip(scores.T, labels.T, strict=True)
    known = [each for pair in pairs if (each := auroc(*pair)) is not None]
    return float(np.mean(known)) if known else None


def _mean(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def _text(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
