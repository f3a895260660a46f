"""How far an engine's landmarks moved, and what that does to their error against annotations.

Two distances, never mixed:

- *displacement*: engine against reference, in pixels of the **network's input** (``…_px``), so
  that a budget means the same on every image size; also in mm where spacing is known;
- *radial error* (MRE, SDR): either of them against an annotation, in pixels of the **image**
  (``mre_px``) and in mm where the image has a pixel spacing (``mre_mm``).

SDR@t is the share of annotated points, in percent, whose radial error is <= t mm (the definition
of the ISBI 2015 challenge). The build gate and the bench share this file. Pure numpy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SDR_THRESHOLDS_MM = (2.0, 2.5, 3.0, 4.0)
BOOTSTRAP_RESAMPLES = 1000

Interval = tuple[float, float]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LandmarkSet:
    """The same landmarks of N images in two frames.

    Attributes:
        network_px: (N, K, 2) x, y in the network's input pixels.
        image_px: (N, K, 2) x, y in each image's own pixels.
    """

    network_px: NDArray[np.floating]
    image_px: NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Annotations:
    """What a data set knows about N images.

    Attributes:
        points_px: (N, K, 2) x, y in each image's pixels, NaN where not annotated.
        spacing_mm: (N, 2) mm per pixel as (row, column), NaN where unknown.
    """

    points_px: NDArray[np.floating]
    spacing_mm: NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class LandmarkAccuracy:
    """One landmark over all images; the fields mean what they mean in :class:`Accuracy`."""

    name: str
    mean_px: float
    max_px: float
    mre_px: float | None = None
    mre_mm: float | None = None


@dataclass(frozen=True, slots=True)
class Accuracy:
    """An engine against the reference, and both against annotations.

    Attributes:
        images: Images that were compared.
        non_finite_points: Landmarks that are NaN or infinite in engine or reference. They count
            as infinitely displaced.
        mean_px, p99_px, max_px: Displacement over all landmarks of all images, network pixels.
        worst_landmark_mean_px: The largest of the landmarks' mean displacements.
        mean_mm, max_mm: Displacement in mm, over images whose spacing is known.
        per_landmark: One row per landmark, in the network's order.
        annotated_points, annotated_points_mm: How many points the errors below average.
        mre_px, mre_mm: The engine's mean radial error, image pixels and mm.
        reference_mre_px, reference_mre_mm: The reference's, over the same points.
        delta_mre_px, delta_mre_mm: Engine minus reference: positive is worse.
        delta_mre_px_interval, delta_mre_mm_interval: 95% paired bootstrap over images.
        sdr_percent, reference_sdr_percent: By threshold in mm.
    """

    images: int
    non_finite_points: int
    mean_px: float
    p99_px: float
    max_px: float
    worst_landmark_mean_px: float
    per_landmark: tuple[LandmarkAccuracy, ...]
    mean_mm: float | None = None
    max_mm: float | None = None
    annotated_points: int = 0
    annotated_points_mm: int = 0
    mre_px: float | None = None
    mre_mm: float | None = None
    reference_mre_px: float | None = None
    reference_mre_mm: float | None = None
    delta_mre_px: float | None = None
    delta_mre_mm: float | None = None
    delta_mre_px_interval: Interval | None = None
    delta_mre_mm_interval: Interval | None = None
    sdr_percent: Mapping[float, float] | None = None
    reference_sdr_percent: Mapping[float, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: what is not finite becomes null."""
        return {name: _plain(getattr(self, name)) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class Gate:
    """How far an engine may move landmarks before it counts as wrong.

    Attributes:
        budget_px: Mean displacement of a reduced precision (int8, fp16, bf16), network pixels.
        worst_landmark_px: Mean displacement of its worst landmark, network pixels.
        fp32_px: Mean displacement of *each* landmark of an FP32 engine, network pixels.
        fp32_max_px: Displacement of any single point of an FP32 engine, network pixels.
        budget_mm: Mean displacement in mm; replaces ``budget_px`` when given.
        delta_mre_mm: How much the MRE may grow, mm; judged when given.
    """

    budget_px: float = 0.25
    worst_landmark_px: float = 1.0
    fp32_px: float = 0.01
    fp32_max_px: float = 0.1
    budget_mm: float | None = None
    delta_mre_mm: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an engine may ship, and every reason why not."""

    passed: bool
    reasons: tuple[str, ...] = ()


def compare_points(
    candidate: NDArray[np.floating], reference: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Euclidean distance of corresponding points, in the unit of the points.

    Args:
        candidate, reference: (N, K, 2), in the same frame.

    Returns:
        (N, K); infinite where either point is not finite, so that no average hides it.

    Raises:
        ValueError: Shapes differ, or are not (N, K, 2).
    """
    ours, theirs = np.asarray(candidate, np.float64), np.asarray(reference, np.float64)
    if ours.shape != theirs.shape or ours.ndim != 3 or ours.shape[2] != 2:
        raise ValueError(f"points: got {ours.shape} and {theirs.shape}; expected (N, K, 2) twice")
    finite = np.all(np.isfinite(ours) & np.isfinite(theirs), axis=2)  # (N, K)
    both = finite[:, :, np.newaxis]
    difference = np.where(both, ours, 0.0) - np.where(both, theirs, 0.0)
    return np.where(finite, np.hypot(difference[..., 0], difference[..., 1]), np.inf)


def radial_error(
    points_px: NDArray[np.floating],
    truth_px: NDArray[np.floating],
    spacing_mm: NDArray[np.floating] | None = None,
) -> NDArray[np.float64]:
    """Distance to the annotation, in image pixels, or in mm when the spacing is given.

    Args:
        points_px, truth_px: (N, K, 2) x, y in image pixels; NaN in ``truth_px`` where there is
            no annotation.
        spacing_mm: (N, 2) as (row, column), NaN where unknown.

    Returns:
        (N, K): NaN where there is nothing to compare with, infinite where the point is broken.
    """
    truth = np.asarray(truth_px, np.float64)
    known = np.all(np.isfinite(truth), axis=2)  # (N, K)
    scale = np.ones((len(truth), 1, 2))
    if spacing_mm is not None:
        spacing = np.asarray(spacing_mm, np.float64)
        known &= np.all(np.isfinite(spacing), axis=1)[:, None]
        scale = np.nan_to_num(spacing)[:, None, ::-1]  # (row, column) -> (x, y)
    truth = np.where(known[:, :, None], truth, 0.0)
    distance = compare_points(np.asarray(points_px, np.float64) * scale, truth * scale)
    return np.where(known, distance, np.nan)


def measure(
    candidate: LandmarkSet,
    reference: LandmarkSet,
    names: Sequence[str],
    annotations: Annotations | None = None,
    *,
    seed: int = 0,
) -> Accuracy:
    """Everything the gate and the report say about one engine.

    Args:
        candidate, reference: Landmarks of the same N >= 1 images, in the same order.
        names: K landmark names.
        annotations: Of the same images, or None.
        seed: Of the bootstrap.

    Raises:
        ValueError: Shapes do not fit each other, or there is no image.
    """
    moved = compare_points(candidate.network_px, reference.network_px)  # (N, K)
    if moved.size == 0 or moved.shape[1] != len(names):
        raise ValueError(f"points: got {moved.shape}; expected (N >= 1, {len(names)})")
    landmark_means = moved.mean(axis=0)
    errors = {} if annotations is None else _errors(candidate, reference, annotations, seed)
    rows_px, rows_mm = errors.pop("rows_px", None), errors.pop("rows_mm", None)
    return Accuracy(
        images=len(moved),
        non_finite_points=int(np.isinf(moved).sum()),
        mean_px=float(moved.mean()),
        p99_px=_percentile(moved, 99),
        max_px=float(moved.max()),
        worst_landmark_mean_px=float(landmark_means.max()),
        per_landmark=tuple(
            LandmarkAccuracy(
                name,
                mean_px=float(landmark_means[k]),
                max_px=float(moved[:, k].max()),
                mre_px=None if rows_px is None else _mean(rows_px[:, k]),
                mre_mm=None if rows_mm is None else _mean(rows_mm[:, k]),
            )
            for k, name in enumerate(names)
        ),
        **errors,
    )


def judge(accuracy: Accuracy, gate: Gate, precision: str) -> Verdict:
    """Hold an engine's accuracy against the gate of its precision.

    Args:
        accuracy: Of the built engine.
        gate: The budgets.
        precision: ``fp32`` is held to ``fp32_px``; every other one to ``budget_px``.
    """
    limits = _fp32_limits(accuracy, gate) if precision == "fp32" else _limits(accuracy, gate)
    if gate.delta_mre_mm is not None:
        limits.append(("MRE change", accuracy.delta_mre_mm, gate.delta_mre_mm, "mm"))
    reasons = []
    if accuracy.non_finite_points:
        reasons.append(f"{accuracy.non_finite_points} landmarks are NaN or infinite")
    for what, value, budget, unit in limits:
        if value is None:
            reasons.append(f"{what} cannot be judged: the data give no length in mm")
        elif not value <= budget:  # NaN fails too
            reasons.append(f"{what} {value:.3g} {unit} is over its budget of {budget:g} {unit}")
    return Verdict(passed=not reasons, reasons=tuple(reasons))


_Limit = tuple[str, float | None, float, str]


def _limits(accuracy: Accuracy, gate: Gate) -> list[_Limit]:
    mean: _Limit = ("mean displacement", accuracy.mean_px, gate.budget_px, "px")
    if gate.budget_mm is not None:
        mean = ("mean displacement", accuracy.mean_mm, gate.budget_mm, "mm")
    return [mean, _worst_landmark(accuracy, gate.worst_landmark_px)]


def _fp32_limits(accuracy: Accuracy, gate: Gate) -> list[_Limit]:
    return [
        _worst_landmark(accuracy, gate.fp32_px),
        ("largest displacement", accuracy.max_px, gate.fp32_max_px, "px"),
    ]


def _worst_landmark(accuracy: Accuracy, budget_px: float) -> _Limit:
    worst = max(accuracy.per_landmark, key=lambda row: row.mean_px)
    return (f"mean displacement of {worst.name}", worst.mean_px, budget_px, "px")


def _errors(
    candidate: LandmarkSet, reference: LandmarkSet, annotations: Annotations, seed: int
) -> dict[str, Any]:
    """The fields of Accuracy that need annotations or spacing, and the (N, K) errors behind."""
    truth, spacing = annotations.points_px, annotations.spacing_mm
    fields: dict[str, Any] = {}
    moved_mm = _moved_mm(candidate, reference, spacing)
    if moved_mm.size:
        fields["mean_mm"], fields["max_mm"] = float(moved_mm.mean()), float(moved_mm.max())
    for unit, scale in (("px", None), ("mm", spacing)):
        ours = radial_error(candidate.image_px, truth, scale)
        theirs = radial_error(reference.image_px, truth, scale)
        if np.isnan(ours).all():
            continue
        mean, reference_mean = float(np.nanmean(ours)), float(np.nanmean(theirs))
        fields[f"rows_{unit}"] = ours
        fields[f"mre_{unit}"], fields[f"reference_mre_{unit}"] = mean, reference_mean
        fields[f"delta_mre_{unit}"] = mean - reference_mean if np.isfinite(reference_mean) else None
        fields[f"delta_mre_{unit}_interval"] = delta_interval(ours, theirs, seed=seed)
        known = ~np.isnan(ours)
        if unit == "px":
            fields["annotated_points"] = int(known.sum())
        else:
            fields["annotated_points_mm"] = int(known.sum())
            fields["sdr_percent"] = success_rates(ours[known])
            fields["reference_sdr_percent"] = success_rates(theirs[known])
    return fields


def success_rates(errors_mm: Floats) -> dict[float, float]:
    """Percent of the radial errors that are at most 2, 2.5, 3 and 4 mm."""
    return {t: float(100.0 * np.mean(errors_mm <= t)) for t in SDR_THRESHOLDS_MM}


def delta_interval(
    candidate_errors: Floats,
    reference_errors: Floats,
    *,
    resamples: int = BOOTSTRAP_RESAMPLES,
    seed: int = 0,
) -> Interval | None:
    """95% interval of the change of MRE, by a paired bootstrap over images.

    Args:
        candidate_errors, reference_errors: (N, K) radial errors, NaN where not annotated.

    Returns:
        (low, high), or None with fewer than two annotated images or an error that is infinite.
    """
    counts = (~np.isnan(candidate_errors)).sum(axis=1)
    used = counts > 0
    ours, theirs = np.nansum(candidate_errors, axis=1), np.nansum(reference_errors, axis=1)
    if used.sum() < 2 or not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return None
    change, counts = (ours - theirs)[used], counts[used]
    # A resample of images is how often each was drawn: (resamples, N).
    drawn = np.random.default_rng(seed).multinomial(
        len(counts), np.full(len(counts), 1 / len(counts)), size=resamples
    )
    low, high = np.quantile((drawn @ change) / (drawn @ counts), [0.025, 0.975])
    return float(low), float(high)


def _moved_mm(
    candidate: LandmarkSet, reference: LandmarkSet, spacing_mm: NDArray[np.floating]
) -> Floats:
    """Displacement in mm of the images whose spacing is known, (n, K); needs no annotation."""
    known = np.isfinite(spacing_mm).all(axis=1)
    mm_per_px = np.asarray(spacing_mm, np.float64)[known][:, None, ::-1]  # as (x, y)
    return compare_points(
        candidate.image_px[known] * mm_per_px, reference.image_px[known] * mm_per_px
    )


def _percentile(values: Floats, percent: int) -> float:
    # Nearest rank: interpolating between an infinite distance and another gives NaN.
    return float(np.sort(values, axis=None)[max(-(-percent * values.size // 100), 1) - 1])


def _mean(errors: Floats) -> float | None:
    known = errors[~np.isnan(errors)]
    return float(known.mean()) if known.size else None


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {f"{key:g}": _plain(item) for key, item in value.items()}
    if isinstance(value, LandmarkAccuracy):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
