"""How far a map (C, h, w) lies from another one: differences and structural similarity.

Differences are absolute. A map of probabilities lies in [0, 1], and its differences are taken as
they are. Where the reference's map of an image spans more than 1, the differences of that image
are divided by the span, so that one budget serves maps of every unit.

The structural similarity (SSIM) is that of Wang, Bovik, Sheikh and Simoncelli, "Image quality
assessment: from error visibility to structural similarity", IEEE Transactions on Image Processing
13, 2004: a Gaussian window of 11x11 with a standard deviation of 1.5, K1 = 0.01, K2 = 0.03, over
the places where the window lies within the map, at the map's own resolution. The data range is
that span, at least 1. It is 1 for equal maps and -1 at the least.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mahtrt.bundle.output_records import MapRecord

WINDOW, SIGMA = 11, 1.5
_K1, _K2 = 0.01, 0.03
_WORST_SSIM = -1.0
# Values of a float16 without its sign: each is a bin.
_BINS = 2**15

Map = NDArray[np.floating]


def span_of(reference: Map) -> float:
    """What differences from this map are divided by: its span, at least 1."""
    finite = reference[np.isfinite(reference)]
    return max(1.0, float(np.ptp(finite.astype(np.float64)))) if finite.size else 1.0


def difference(candidate: Map, reference: Map) -> NDArray[np.float64]:
    """Absolute difference of two maps of one image, in shares of a span above 1.

    Args:
        candidate, reference: (C, h, w).

    Returns:
        (C, h, w); infinite where either is not finite.

    Raises:
        ValueError: Shapes differ, or are not those of maps.
    """
    ours, theirs = np.asarray(candidate, np.float64), np.asarray(reference, np.float64)
    if ours.shape != theirs.shape or ours.ndim != 3 or not ours.size:
        raise ValueError(f"maps: got {ours.shape} and {theirs.shape}; expected (C, h, w) twice")
    finite = np.isfinite(ours) & np.isfinite(theirs)
    apart = np.abs(np.where(finite, ours, 0.0) - np.where(finite, theirs, 0.0))
    return np.where(finite, apart / span_of(theirs), np.inf)


def ssim(candidate: Map, reference: Map, data_range: float) -> float:
    """Structural similarity of two maps (C, h, w), the mean over their channels.

    Args:
        data_range: The span of values that a map can have.

    Returns:
        From -1 to 1; -1 where a value is not finite. Maps that are smaller than the window are
        mirrored at their borders.
    """
    ours, theirs = np.asarray(candidate, np.float64), np.asarray(reference, np.float64)
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return _WORST_SSIM
    pairs = zip(ours, theirs, strict=True)
    return float(np.mean([_ssim_of_channel(a, b, data_range) for a, b in pairs]))


def _ssim_of_channel(ours: Map, theirs: Map, data_range: float) -> float:
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    mean_a, mean_b = _blurred(ours), _blurred(theirs)
    variance_a = _blurred(ours * ours) - mean_a**2
    variance_b = _blurred(theirs * theirs) - mean_b**2
    covariance = _blurred(ours * theirs) - mean_a * mean_b
    above = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    below = (mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2)
    return min(1.0, max(_WORST_SSIM, float((above / below).mean())))


def _blurred(plane: Map) -> NDArray[np.float64]:
    """Gaussian means (h, w) where the whole window lies within the plane."""
    blurred = cv2.GaussianBlur(plane, (WINDOW, WINDOW), SIGMA, borderType=cv2.BORDER_REFLECT_101)
    edge = WINDOW // 2
    rows, columns = (slice(edge, -edge) if n >= WINDOW else slice(None) for n in plane.shape)
    return np.asarray(blurred[rows, columns], np.float64)


@dataclass(slots=True)
class MapTally:
    """The comparison of one output over images that come one by one; none of them is kept.

    Attributes:
        name: Name of the output.
    """

    name: str
    _sums: list[float] = field(default_factory=list)
    _largest: float = 0.0
    _values: int = 0
    _broken: int = 0
    _similarities: list[tuple[float, str]] = field(default_factory=list)
    _errors: list[tuple[float, float]] = field(default_factory=list)
    _known: int = 0
    _counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS, np.int64))

    def add(self, candidate: Map, reference: Map, target: Map | None, image: str) -> None:
        """Compare the maps of one image.

        Args:
            candidate, reference: (C, h, w).
            target: The annotated map, likewise, NaN where there is none; None without.
            image: Name of the image.
        """
        apart = difference(candidate, reference)
        self._sums.append(float(apart.sum()))
        self._largest = max(self._largest, float(apart.max()))
        self._values += apart.size
        self._broken += int(np.isinf(apart).sum())
        self._counts += np.bincount(_half_bins(apart), minlength=_BINS)
        self._similarities.append((ssim(candidate, reference, span_of(reference)), image))
        known = None if target is None else np.isfinite(target)
        if target is not None and known is not None and known.any():
            ours, theirs = (_error(each, target, known) for each in (candidate, reference))
            self._errors.append((ours, theirs))
            self._known += int(known.sum())

    def merge(self, later: MapTally) -> None:
        """Add what was compared of the images that follow; exact, as lists and whole counts are."""
        self._sums += later._sums
        self._largest = max(self._largest, later._largest)
        self._values += later._values
        self._broken += later._broken
        self._counts += later._counts
        self._similarities += later._similarities
        self._errors += later._errors
        self._known += later._known

    def record(self) -> MapRecord:
        """What was found of at least one image."""
        lowest, image = min(self._similarities, key=lambda pair: pair[0])
        found = [similarity for similarity, _ in self._similarities]
        return MapRecord(
            name=self.name,
            non_finite=self._broken,
            mean=math.fsum(self._sums) / self._values if not self._broken else math.inf,
            p99=self._p99(),
            max=self._largest,
            ssim=_WORST_SSIM if self._broken else float(np.mean(found)),
            worst_ssim=lowest,
            worst_image=image,
            annotated_images=len(self._errors),
            **self._mean_errors(),
        )

    def _p99(self) -> float:
        """The smallest value that 99% do not exceed, to the three digits of half precision."""
        rank = max(-(-99 * self._values // 100), 1)
        place = int(np.searchsorted(np.cumsum(self._counts), rank))
        return float(np.array(place, np.uint16).view(np.float16))

    def _mean_errors(self) -> dict[str, Any]:
        if not self._errors:
            return {}
        columns = zip(*self._errors, strict=True)
        ours, theirs = (math.fsum(column) / self._known for column in columns)
        delta = ours - theirs if math.isfinite(theirs) else None
        return {"mae": ours, "reference_mae": theirs, "delta_mae": delta}


def _half_bins(apart: NDArray[np.float64]) -> NDArray[np.uint16]:
    """The bin of each value: its float16, whose bits are in the order of the values."""
    with np.errstate(over="ignore"):
        halves = apart.astype(np.float16)
    bins: NDArray[np.uint16] = halves.ravel().view(np.uint16)
    return bins


def _error(found: Map, target: Map, known: NDArray[np.bool_]) -> float:
    """The sum of absolute errors where the target is known; infinite where a value is broken."""
    values = np.asarray(found, np.float64)[known]
    if not np.isfinite(values).all():
        return math.inf
    return float(np.abs(values - np.asarray(target, np.float64)[known]).sum())
