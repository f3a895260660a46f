"""How far an engine's landmarks moved, and what that does to their error against annotations.

Outputs of other kinds are compared by :mod:`mahtrt.measure.outputs`, which adds them to the record.

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
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.bundle.records import AccuracyRecord, LandmarkRecord, TwoPeakedRecord
from mahtrt.measure.bootstrap import Bootstrap
from mahtrt.measure.displacement import compare_points, nearest_rank, radial_error
from mahtrt.measure.proportions import change_percent
from mahtrt.measure.wide_heatmaps import Widths, compare_widths

SDR_THRESHOLDS_MM = (2.0, 2.5, 3.0, 4.0)
_ROUNDING = 1e-9  # of a length: far more than float64 loses, and nothing that anyone measures
LISTED_POINTS = 20  # of those with a wide heatmap, in a report

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LandmarkSet:
    """The same landmarks of N images in two frames.

    Attributes:
        network_px: (N, K, 2) x, y in the network's input pixels.
        image_px: (N, K, 2) x, y in each image's own pixels.
        spread_px: (N, K) standard deviation of the heatmaps in the network's input pixels, NaN
            where unknown; None where the network gives none.
        cell_px: Side of a cell of the heatmaps, in the network's input pixels.
    """

    network_px: NDArray[np.floating]
    image_px: NDArray[np.floating]
    spread_px: NDArray[np.floating] | None = None
    cell_px: float = 1.0


@dataclass(frozen=True, slots=True)
class Annotations:
    """What a data set knows about N images.

    Attributes:
        points_px: (N, K, 2) x, y in each image's pixels, NaN where not annotated.
        spacing_mm: (N, 2) mm per pixel as (row, column), NaN where unknown.
        names: Names of the images; without, they are numbered.
    """

    points_px: NDArray[np.floating]
    spacing_mm: NDArray[np.floating]
    names: tuple[str, ...] = ()


def measure(
    candidate: LandmarkSet,
    reference: LandmarkSet,
    names: Sequence[str],
    annotations: Annotations | None = None,
    *,
    seed: int = 0,
) -> AccuracyRecord:
    """Everything the gate and the report say about one engine.

    Args:
        candidate, reference: Landmarks of the same N >= 1 images, in the same order.
        names: K landmark names; of none of them, the displacements are None.
        annotations: Annotations of the same images, or None.
        seed: Seed of the bootstrap.

    Raises:
        ValueError: Shapes do not fit each other, or there is no image.
    """
    moved = compare_points(candidate.network_px, reference.network_px)  # (N, K)
    if len(moved) == 0 or moved.shape[1] != len(names):
        raise ValueError(f"points: got {moved.shape}; expected (N >= 1, {len(names)})")
    if not names:
        return AccuracyRecord(len(moved), 0, None, None, None, None, ())
    bootstrap = Bootstrap(seed)
    landmarks = tuple(
        LandmarkRecord(name, float(moved[:, k].mean()), float(moved[:, k].max()))
        for k, name in enumerate(names)
    )
    found = AccuracyRecord(
        images=len(moved),
        non_finite_points=int(np.isinf(moved).sum()),
        mean_px=float(moved.mean()),
        p99_px=nearest_rank(moved, 99),
        max_px=float(moved.max()),
        worst_landmark_mean_px=max(row.mean_px for row in landmarks),
        per_landmark=landmarks,
        mean_px_interval=bootstrap.mean(moved),
    )
    images = annotations.names if annotations else ()
    found = _with_widths(found, moved, candidate, reference, images)
    if annotations is None:
        return found
    return _with_errors(found, candidate, reference, annotations, bootstrap)


def success_rates(errors_mm: Floats) -> dict[str, float]:
    """Percent of the radial errors that are at most 2, 2.5, 3 and 4 mm, by distance as text."""
    return {f"{t:g}": float(100.0 * np.mean(_is_within(errors_mm, t))) for t in SDR_THRESHOLDS_MM}


def _is_within(errors_mm: Floats, threshold_mm: float) -> NDArray[np.bool_]:
    """Which errors are at most the threshold, where rounding decides nothing."""
    return np.asarray(errors_mm <= threshold_mm * (1 + _ROUNDING), bool)


def _with_widths(
    found: AccuracyRecord,
    moved: Floats,
    candidate: LandmarkSet,
    reference: LandmarkSet,
    images: Sequence[str],
) -> AccuracyRecord:
    """Add what is known of points with a wide heatmap, and of the others."""
    spread_px, reference_px = candidate.spread_px, reference.spread_px
    if spread_px is None or reference_px is None or not np.isfinite(reference_px).any():
        worst = {"single_peak_p99_px": found.p99_px, "single_peak_max_px": found.max_px}
        return replace(found, **worst)  # type: ignore[arg-type]
    names = [row.name for row in found.per_landmark]
    widths = compare_widths(moved, reference_px, spread_px, reference.cell_px)
    # Not every heatmap is three times the median, so that some points are always judged.
    judged, either = moved[~widths.excused], widths.wide | widths.new
    places = sorted(np.argwhere(either).tolist(), key=lambda at: -moved[tuple(at)])
    return replace(
        found,
        per_landmark=tuple(
            replace(row, two_peaked=count, usual_spread_px=usual)
            for row, count, usual in zip(
                found.per_landmark,
                widths.wide.sum(axis=0).tolist(),
                widths.usual_px.tolist(),
                strict=True,
            )
        ),
        two_peaked=int(widths.wide.sum()),
        two_peaked_max_px=_largest(moved[widths.wide]),
        two_peaked_excused=int(widths.excused.sum()),
        new_two_peaks=int(widths.new.sum()),
        new_two_peaks_max_px=_largest(moved[widths.new]),
        two_peaked_points=tuple(
            _wide_point(moved[n, k], widths, n, k, images[n] if images else str(n), names[k])
            for n, k in places[:LISTED_POINTS]
        ),
        single_peak_p99_px=nearest_rank(judged, 99),
        single_peak_max_px=float(judged.max()),
    )


def _wide_point(
    moved_px: float, widths: Widths, n: int, k: int, image: str, landmark: str
) -> TwoPeakedRecord:
    """Landmark ``k`` of image ``n``, whose heatmap is wide."""
    new = bool(widths.new[n, k])
    return TwoPeakedRecord(
        image=image,
        landmark=landmark,
        moved_px=float(moved_px),
        spread_px=float(widths.candidate_px[n, k]),
        reference_spread_px=float(widths.reference_px[n, k]),
        usual_spread_px=float(widths.usual_px[k]),
        new=new,
        reach_px=None if new else float(widths.reach_px[n, k]),
    )


def _largest(values: Floats) -> float | None:
    return float(values.max()) if values.size else None


def _with_errors(
    found: AccuracyRecord,
    candidate: LandmarkSet,
    reference: LandmarkSet,
    annotations: Annotations,
    bootstrap: Bootstrap,
) -> AccuracyRecord:
    """Add what needs annotations or spacing."""
    truth, spacing = annotations.points_px, annotations.spacing_mm
    fields: dict[str, Any] = {}
    moved_mm = _moved_mm(candidate, reference, spacing)
    if moved_mm.size:
        fields["mean_mm"], fields["max_mm"] = float(moved_mm.mean()), float(moved_mm.max())
    pairs: dict[str, tuple[Floats, Floats]] = {
        unit: (
            radial_error(candidate.image_px, truth, scale),
            radial_error(reference.image_px, truth, scale),
        )
        for unit, scale in (("px", None), ("mm", spacing))
    }
    for unit, (ours, theirs) in pairs.items():
        if not np.isnan(ours).all():
            fields |= _mean_errors(ours, theirs, unit, bootstrap)
            fields |= _rates(ours, theirs) if unit == "mm" else {}
    rows = tuple(
        _with_error(
            row, {unit: (o[:, [k]], t[:, [k]]) for unit, (o, t) in pairs.items()}, bootstrap
        )
        for k, row in enumerate(found.per_landmark)
    )
    changes = [r.mre_change_percent for r in rows if r.mre_change_percent is not None]
    fields["worst_mre_change_percent"] = max(changes, default=None)
    return replace(found, per_landmark=rows, **fields)


def _mean_errors(ours: Floats, theirs: Floats, unit: str, bootstrap: Bootstrap) -> dict[str, Any]:
    mean, reference_mean = float(np.nanmean(ours)), float(np.nanmean(theirs))
    return {
        "annotated_points" + ("_mm" if unit == "mm" else ""): int((~np.isnan(ours)).sum()),
        f"mre_{unit}": mean,
        f"reference_mre_{unit}": reference_mean,
        f"delta_mre_{unit}": mean - reference_mean if np.isfinite(reference_mean) else None,
        f"delta_mre_{unit}_interval": bootstrap.change(ours, theirs),
    }


def _with_error(
    row: LandmarkRecord, pairs: Mapping[str, tuple[Floats, Floats]], bootstrap: Bootstrap
) -> LandmarkRecord:
    """Add one landmark's errors (N, 1) of engine and reference, by unit.

    Its growth is that in mm where every annotated image has a spacing. Else images without one
    would not count, so that the worse of mm over some images and px over all is taken.
    """
    fields: dict[str, Any] = {}
    grown, behind = None, None
    for unit, (ours, theirs) in pairs.items():
        mean, reference_mean = _mean(ours), _mean(theirs)
        if mean is None or reference_mean is None:
            continue
        fields |= {f"mre_{unit}": mean, f"reference_mre_{unit}": reference_mean}
        percent = _growth_percent(mean, reference_mean)
        is_all = np.array_equal(np.isnan(ours), np.isnan(pairs["px"][0]))
        if is_all or grown is None or (percent is not None and percent > grown):
            grown, behind = percent, (ours, theirs)
    if behind is not None:
        fields["mre_change_percent"] = grown
        fields["mre_change_percent_interval"] = bootstrap.growth_percent(*behind)
    return replace(row, **fields)


def _growth_percent(mean: float, reference_mean: float) -> float | None:
    if not np.isfinite(reference_mean):
        return None  # nothing to be worse than
    if reference_mean == 0:
        return 0.0 if mean == 0 else math.inf
    return 100 * (mean / reference_mean - 1)


def _rates(ours: Floats, theirs: Floats) -> dict[str, Any]:
    """SDR of errors in mm (N, K), and its change."""
    known = ~np.isnan(ours)
    rates, reference_rates = success_rates(ours[known]), success_rates(theirs[known])
    intervals = {
        f"{t:g}": change_percent(
            *(np.where(known, _is_within(errors, t), np.nan) for errors in (ours, theirs))
        )
        for t in SDR_THRESHOLDS_MM
    }
    return {
        "sdr_percent": rates,
        "reference_sdr_percent": reference_rates,
        "delta_sdr_percent": {t: rate - reference_rates[t] for t, rate in rates.items()},
        "delta_sdr_percent_interval": intervals,
    }


def _moved_mm(
    candidate: LandmarkSet, reference: LandmarkSet, spacing_mm: NDArray[np.floating]
) -> Floats:
    """Displacement in mm of the images whose spacing is known, (n, K); needs no annotation."""
    known = np.isfinite(spacing_mm).all(axis=1)
    return compare_points(
        candidate.image_px[known], reference.image_px[known], spacing_mm[known][:, None, ::-1]
    )


def _mean(errors: Floats) -> float | None:
    known = errors[~np.isnan(errors)]
    return float(known.mean()) if known.size else None
