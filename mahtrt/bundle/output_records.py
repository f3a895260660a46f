"""What a manifest says of outputs that are no landmarks: maps, logits and visibility.

They are part of :class:`mahtrt.bundle.records.AccuracyRecord`, one record per output, in the order
of the spec. A value that is NaN or infinite, in the engine or in the reference, counts as
infinitely far off, as the other side of a threshold, and as an SSIM of -1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from mahtrt.schema import Between, Count, Measured

Similarity = Annotated[float, Between(-1.0, 1.0)]
Share = Annotated[float, Between(0.0, 1.0)]


@dataclass(frozen=True, slots=True)
class MapRecord:
    """A map of the engine against the reference's, and both against annotated maps.

    Differences are absolute, in the map's own unit: where the reference's map of an image spans
    more than 1, that image's are divided by the span (:mod:`mahtrt.measure.maps`).

    Attributes:
        name: Name of the output.
        non_finite: Values that are NaN or infinite in engine or reference.
        mean, p99, max: Difference over all values of all images.
        ssim, worst_ssim: Structural similarity, the mean over images and the lowest.
        worst_image: Name of the image with the lowest, or its number from 0.
        annotated_images: How many images the errors below average.
        mae, reference_mae: Mean absolute error of the engine and of the reference against the
            annotated maps, over the same values.
        delta_mae: Engine minus reference: positive is worse.
    """

    name: str
    non_finite: Count
    mean: Measured
    p99: Measured
    max: Measured
    ssim: Similarity
    worst_ssim: Similarity
    worst_image: str = ""
    annotated_images: Count = 0
    mae: float | None = None
    reference_mae: float | None = None
    delta_mae: float | None = None


@dataclass(frozen=True, slots=True)
class LabelRecord:
    """One label of logits over all images; the fields mean what they mean in :class:`LogitsRecord`.

    Attributes:
        positives, negatives: Annotated images that have the label, and that do not.
    """

    name: str
    max: Measured
    agreement: Share
    positives: Count = 0
    negatives: Count = 0
    auroc: float | None = None
    reference_auroc: float | None = None


@dataclass(frozen=True, slots=True)
class LogitsRecord:
    """Logits of the engine against the reference's, and both against annotated labels.

    Attributes:
        name: Name of the output.
        non_finite: Logits that are NaN or infinite in engine or reference.
        mean, max: Absolute difference of the logits.
        decisions: Labels of all images: how many times there is a yes or a no.
        disagreements: How many of them are another one for the engine than for the reference.
        agreement: Share of the decisions that are the same.
        per_label: One row per label, in the order of the output.
        auroc, reference_auroc: Area under the ROC curve, the mean over those labels of which the
            data have both kinds of images; null without any.
        delta_auroc: Engine minus reference: negative is worse.
    """

    name: str
    non_finite: Count
    mean: Measured
    max: Measured
    decisions: Count
    disagreements: Count
    agreement: Share
    per_label: tuple[LabelRecord, ...]
    auroc: float | None = None
    reference_auroc: float | None = None
    delta_auroc: float | None = None


@dataclass(frozen=True, slots=True)
class VisibilityRecord:
    """Visibility of landmarks: the engine's against the reference's, and against annotations.

    Attributes:
        name: Name of the output.
        non_finite: Probabilities that are NaN or infinite in engine or reference.
        mean, max: Absolute difference of the probabilities.
        decisions, disagreements, agreement: As in :class:`LogitsRecord`, of landmarks that are
            visible or not.
        annotated: How many landmarks the accuracies below rest on.
        accuracy, reference_accuracy: Share of them that are found visible or not as annotated.
        delta_accuracy: Engine minus reference: negative is worse.
    """

    name: str
    non_finite: Count
    mean: Measured
    max: Measured
    decisions: Count
    disagreements: Count
    agreement: Share
    annotated: Count = 0
    accuracy: float | None = None
    reference_accuracy: float | None = None
    delta_accuracy: float | None = None
