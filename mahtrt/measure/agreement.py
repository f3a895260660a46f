"""How well an engine agrees with the reference: landmark by landmark, and image by image.

The differences here are engine minus reference, as in a Bland-Altman comparison of two methods
(Bland and Altman, Lancet 1986): the *bias* is their mean and the *spread* their standard deviation
(with N - 1), along x and along y. Annotations play no part; :mod:`mahtrt.measure.accuracy` holds
engines against those.

A point that is not finite is counted. It makes the bias, the spread, the mean and the largest
displacement of its landmark unknown, so that no average hides it. Pure numpy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.bundle.records import Interval
from mahtrt.measure.accuracy import Annotations, LandmarkSet
from mahtrt.measure.bootstrap import Bootstrap
from mahtrt.measure.displacement import compare_points, nearest_rank
from mahtrt.measure.quantities import Selection
from mahtrt.measure.quantity_agreement import QuantityAgreement, compare_quantity
from mahtrt.schema import plain

LISTED_CASES = 10
_DECIMALS = 4  # of a point's coordinates in a report: far below a hundredth of a pixel

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Displacement:
    """How far one landmark moved over many images, in one unit.

    Attributes:
        points: How many points were compared, those that are not finite included.
        non_finite: How many of them are not finite, of the engine or of the reference.
        bias: Mean of engine minus reference along x and y; NaN where ``non_finite``.
        spread: Standard deviation of the same, with N - 1; NaN for a single point too.
        mean: Mean distance; infinite where ``non_finite``.
        mean_interval: Its 95% interval over images; None for fewer than eight.
        p95: The distance that 95% of the points do not exceed, by nearest rank.
        max: The largest distance.
    """

    points: int
    non_finite: int
    bias: tuple[float, float]
    spread: tuple[float, float]
    mean: float
    mean_interval: Interval | None
    p95: float
    max: float

    def to_dict(self, unit: str) -> dict[str, Any]:
        """Plain data; names end in the unit."""
        return {
            f"bias_{unit}": plain(self.bias),
            f"spread_{unit}": plain(self.spread),
            f"mean_{unit}": plain(self.mean),
            f"mean_{unit}_interval": plain(self.mean_interval),
            f"p95_{unit}": plain(self.p95),
            f"max_{unit}": plain(self.max),
        }


@dataclass(frozen=True, slots=True)
class LandmarkAgreement:
    """How far one landmark moved.

    Attributes:
        px: In pixels of the network's input.
        mm: In millimetres, over the images whose pixel spacing is known; None without any.
    """

    name: str
    px: Displacement
    mm: Displacement | None

    def to_dict(self) -> dict[str, Any]:
        found = {"name": self.name, "points": self.px.points, "non_finite": self.px.non_finite}
        found |= self.px.to_dict("px")
        if self.mm is not None:
            found |= {"points_mm": self.mm.points, **self.mm.to_dict("mm")}
        return found


@dataclass(frozen=True, slots=True, eq=False)
class CaseAgreement:
    """One image, with the points of engine, reference and annotation in its own pixels.

    Attributes:
        mean_px, max_px: Displacement of its landmarks in pixels of the network's input, infinite
            where a point is not finite.
        worst_landmark: The landmark that moved furthest.
        points_px, reference_points_px: (K, 2) x, y in image pixels.
        annotated_points_px: (K, 2), NaN where not annotated; None for an image without annotations.
        spacing_mm: (row, column) millimetres per pixel, None where unknown.
    """

    image: str
    mean_px: float
    max_px: float
    worst_landmark: str
    points_px: Floats
    reference_points_px: Floats
    annotated_points_px: Floats | None
    spacing_mm: tuple[float, float] | None

    def to_dict(self) -> dict[str, Any]:
        truth = self.annotated_points_px
        return {
            "image": plain(self.image),
            "mean_px": plain(self.mean_px),
            "max_px": plain(self.max_px),
            "worst_landmark": plain(self.worst_landmark),
            "points_px": _plain_points(self.points_px),
            "reference_points_px": _plain_points(self.reference_points_px),
            "annotated_points_px": None if truth is None else _plain_points(truth),
            "spacing_mm": plain(self.spacing_mm),
        }


@dataclass(frozen=True, slots=True)
class Agreement:
    """Everything known of how one engine agrees with the reference.

    Attributes:
        landmarks: In the network's order.
        cases: The images on which they disagree most, the worst first.
        quantities: Clinical quantities, where there are definitions that fit the landmarks.
    """

    landmarks: tuple[LandmarkAgreement, ...]
    cases: tuple[CaseAgreement, ...]
    quantities: tuple[QuantityAgreement, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """What ``details`` of ``mahtrt.bench/1`` says of one engine."""
        quantities = [each.to_dict() for each in self.quantities]
        return {
            "landmarks": [each.to_dict() for each in self.landmarks],
            "cases": [each.to_dict() for each in self.cases],
            **({"quantities": quantities} if quantities else {}),
        }


def agreement(
    candidate: LandmarkSet,
    reference: LandmarkSet,
    names: Sequence[str],
    known: Annotations,
    selection: Selection | None = None,
    *,
    seed: int = 0,
) -> Agreement:
    """Compare the landmarks of an engine with the reference's.

    Args:
        candidate, reference: Landmarks of the same N >= 1 images, in the same order.
        names: K >= 1 landmark names.
        known: Annotations, spacings and names of the same images.
        selection: Clinical quantities to compare, if any.
        seed: Seed of the bootstrap.
    """
    bootstrap = Bootstrap(seed)
    moved_px = compare_points(candidate.network_px, reference.network_px)  # (N, K)
    return Agreement(
        compare_landmarks(candidate, reference, names, known.spacing_mm, bootstrap),
        worst_cases(moved_px, candidate.image_px, reference.image_px, names, known),
        _compare_quantities(
            selection,
            [each.image_px for each in (candidate, reference)],
            names,
            known.spacing_mm,
            bootstrap,
        )
        if selection
        else (),
    )


def _compare_quantities(
    selection: Selection,
    points_px: Sequence[NDArray[np.floating]],
    names: Sequence[str],
    spacing_mm: NDArray[np.floating],
    bootstrap: Bootstrap,
) -> tuple[QuantityAgreement, ...]:
    """The selected quantities of engine and reference, each (N, K, 2) in image pixels."""
    ours, theirs = (
        selection.quantities.measure_many(each, names, spacing_mm) for each in points_px
    )
    spaced = np.isfinite(spacing_mm).all(axis=1)
    found, turns = [], selection.quantities.turns()
    for each in selection.definitions:
        engine, truth = ours[each.name], theirs[each.name]
        if each.unit == "mm":  # no other unit needs a spacing
            engine, truth = engine[spaced], truth[spaced]
        turn = each.name in turns
        found.append(compare_quantity(each, engine, truth, bootstrap, turn=turn))
    return tuple(found)


def compare_landmarks(
    candidate: LandmarkSet,
    reference: LandmarkSet,
    names: Sequence[str],
    spacing_mm: NDArray[np.floating],
    bootstrap: Bootstrap,
) -> tuple[LandmarkAgreement, ...]:
    """Bias, spread and distances of each of K landmarks.

    Args:
        spacing_mm: (N, 2) as (row, column), NaN where unknown.
    """
    apart_px = _difference(candidate.network_px, reference.network_px)  # (N, K, 2)
    spaced = np.isfinite(spacing_mm).all(axis=1)  # (N,)
    scale = np.asarray(spacing_mm, np.float64)[spaced][:, None, ::-1]  # (row, column) -> (x, y)
    apart_mm = _difference(candidate.image_px[spaced], reference.image_px[spaced]) * scale
    return tuple(
        LandmarkAgreement(
            name,
            displacement(apart_px[:, k], bootstrap),
            displacement(apart_mm[:, k], bootstrap) if spaced.any() else None,
        )
        for k, name in enumerate(names)
    )


def displacement(apart: Floats, bootstrap: Bootstrap) -> Displacement:
    """Statistics of the differences (N >= 1, 2) of one landmark, NaN where it is not finite."""
    broken = ~np.isfinite(apart).all(axis=1)
    distance = np.where(broken, np.inf, np.hypot(apart[:, 0], apart[:, 1]))
    nothing = (math.nan, math.nan)
    bias = nothing if broken.any() else _pair(apart.mean(axis=0))
    has_spread = len(apart) > 1 and not broken.any()
    return Displacement(
        points=len(apart),
        non_finite=int(broken.sum()),
        bias=bias,
        spread=_pair(apart.std(axis=0, ddof=1)) if has_spread else nothing,
        mean=float(distance.mean()),
        mean_interval=bootstrap.mean(distance[:, None]),
        p95=nearest_rank(distance, 95),
        max=float(distance.max()),
    )


def worst_cases(
    moved_px: Floats,
    points_px: NDArray[np.floating],
    reference_px: NDArray[np.floating],
    names: Sequence[str],
    known: Annotations,
) -> tuple[CaseAgreement, ...]:
    """The images on which engine and reference disagree most, at most ten, the worst first.

    The largest displacement of a landmark decides, then the mean one, then the order of the images:
    one landmark far off is what a reader has to see, however well the others agree.

    Args:
        moved_px: (N, K) displacement in pixels of the network's input.
        points_px, reference_px: (N, K, 2) in image pixels.
    """
    largest, mean = moved_px.max(axis=1), moved_px.mean(axis=1)
    order = np.lexsort((-mean, -largest))[:LISTED_CASES].tolist()  # stable, the last key first
    return tuple(
        CaseAgreement(
            image=known.names[n] if known.names else str(n),
            mean_px=float(mean[n]),
            max_px=float(largest[n]),
            worst_landmark=names[int(moved_px[n].argmax())],
            points_px=np.asarray(points_px[n], np.float64),
            reference_points_px=np.asarray(reference_px[n], np.float64),
            annotated_points_px=_annotated(known.points_px[n]),
            spacing_mm=_spacing(known.spacing_mm[n]),
        )
        for n in order
    )


def _difference(ours: NDArray[np.floating], theirs: NDArray[np.floating]) -> Floats:
    """Ours minus theirs, NaN where either is not finite."""
    finite = np.isfinite(ours) & np.isfinite(theirs)
    apart = np.where(finite, ours, np.nan).astype(np.float64) - np.where(finite, theirs, np.nan)
    return np.asarray(apart, np.float64)


def _annotated(points_px: NDArray[np.floating]) -> Floats | None:
    return np.asarray(points_px, np.float64) if np.isfinite(points_px).any() else None


def _spacing(spacing_mm: NDArray[np.floating]) -> tuple[float, float] | None:
    return _pair(spacing_mm) if np.isfinite(spacing_mm).all() else None


def _pair(values: NDArray[np.floating]) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def _plain_points(points_px: Floats) -> list[list[float] | None]:
    """[x, y] of each point, None for one that is not finite."""
    return [
        [round(float(x), _DECIMALS), round(float(y), _DECIMALS)]
        if np.isfinite([x, y]).all()
        else None
        for x, y in points_px
    ]
