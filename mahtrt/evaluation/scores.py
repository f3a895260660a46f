"""Scores of a network from its answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from mahtrt.bundle.records import Interval
from mahtrt.evaluation.answers import Answers, Floats
from mahtrt.measure.accuracy import success_rates
from mahtrt.measure.bootstrap import Bootstrap
from mahtrt.measure.decisions import auroc


@dataclass(frozen=True, slots=True)
class PointScores:
    """Errors of one landmark, or of all; None where nothing is annotated.

    Attributes:
        points: How many annotated points there are.
        px: Mean radial error in image pixels; infinite where a landmark is broken.
        mm: The same in mm, over images whose spacing is known.
        sdr_percent: Share of the points within 2, 2.5, 3 and 4 mm, by distance as text.
    """

    points: int = 0
    px: float | None = None
    mm: float | None = None
    sdr_percent: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scores:
    """Means over all cases; None where the network has no such output, or nothing is annotated.

    Attributes:
        images: Number of cases.
        overall: Errors of all landmarks together.
        px_interval, mm_interval: 95% intervals of the mean radial errors, by the bootstrap over
            cases; None with fewer than eight.
        per_landmark: Errors by landmark.
        visibility_accuracy: Share of landmarks whose visibility is told right at the threshold.
        map_mae: Mean absolute error of the map.
        map_ssim: Mean structural similarity of the map and the annotated one.
        auroc: Mean over the labels of the area under the ROC curve.
        per_label: AUROC by label, of those that some cases have and others do not.
    """

    images: int
    overall: PointScores = field(default_factory=PointScores)
    px_interval: Interval | None = None
    mm_interval: Interval | None = None
    per_landmark: Mapping[str, PointScores] = field(default_factory=dict)
    visibility_accuracy: float | None = None
    map_mae: float | None = None
    map_ssim: float | None = None
    auroc: float | None = None
    per_label: Mapping[str, float] = field(default_factory=dict)

    @property
    def px(self) -> float | None:
        """Mean radial error in image pixels."""
        return self.overall.px

    @property
    def mm(self) -> float | None:
        """Mean radial error in mm."""
        return self.overall.mm

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def in_words(self) -> dict[str, str]:
        """What is known, by its name: ``{"MRE": "1.234 px, 0.123 mm"}``."""
        errors = ((self.px, "px"), (self.mm, "mm"))
        known = {
            "MRE": ", ".join(f"{value:.3f} {unit}" for value, unit in errors if value is not None),
            "visibility": _text(self.visibility_accuracy, "{:.1%} right"),
            "map MAE": _text(self.map_mae, "{:.4f}"),
            "map SSIM": _text(self.map_ssim, "{:.4f}"),
            "AUROC": _text(self.auroc, "{:.3f}"),
        }
        return {name: text for name, text in known.items() if text}


def score(answers: Answers, *, seed: int = 0) -> Scores:
    """The scores of one network on one data set.

    Args:
        seed: Seed of the bootstrap.
    """
    bootstrap, labels = Bootstrap(seed), _auroc_by_label(answers)
    wrong = decided_wrong(answers.visibility, answers.visible, answers.visibility_from)
    return Scores(
        images=len(answers.names),
        overall=_points(answers.errors_px, answers.errors_mm),
        px_interval=_interval(bootstrap, answers.errors_px),
        mm_interval=_interval(bootstrap, answers.errors_mm),
        per_landmark={
            name: _points(answers.errors_px[:, k], answers.errors_mm[:, k])
            for k, name in enumerate(answers.landmarks)
        },
        visibility_accuracy=None if (share := _mean(wrong)) is None else 1 - share,
        map_mae=_mean(answers.map_errors),
        map_ssim=_mean(answers.map_ssims),
        auroc=float(np.mean(list(labels.values()))) if labels else None,
        per_label=labels,
    )


def decided_wrong(found: Floats, truth: Floats, threshold: float) -> Floats:
    """1 where the found side of the threshold is not the annotated one, NaN without annotation.

    What is not finite decides nothing, which is wrong too.
    """
    right = np.isfinite(found) & ((found >= threshold) == (truth > 0.5))
    return np.where(np.isnan(truth), np.nan, 1.0 - right)


def _points(errors_px: Floats, errors_mm: Floats) -> PointScores:
    known = errors_mm[~np.isnan(errors_mm)]
    return PointScores(
        points=int((~np.isnan(errors_px)).sum()),
        px=_mean(errors_px),
        mm=_mean(errors_mm),
        sdr_percent=success_rates(known) if known.size else {},
    )


def _interval(bootstrap: Bootstrap, errors: Floats) -> Interval | None:
    return bootstrap.mean(errors) if errors.size and not np.isnan(errors).all() else None


def _auroc_by_label(answers: Answers) -> dict[str, float]:
    found = (
        (name, auroc(answers.probabilities[:, i], answers.labels[:, i]))
        for i, name in enumerate(answers.label_names)
    )
    return {name: value for name, value in found if value is not None}


def _mean(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def _text(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
