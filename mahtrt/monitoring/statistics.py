"""The statistics that are watched: numbers of one image and of what a network found in it.

docs/drift.md tells what each of them means. A statistic that is not known of an image is NaN.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mahtrt.monitoring.facts import ImageFacts
from mahtrt.runtime.landmarks import Landmarks

# Differences that nobody has to know of, by the last word of a statistic's name: values that are
# nearer count as equal. Of sizes and lengths they are shares of the value.
_STEPS = {"p5": 0.004, "p50": 0.004, "p95": 0.004, "contrast": 0.004, "saturated": 0.002}
_STEPS |= {"detail": 0.001, "confidence": 0.002, "visibility": 0.002, "probability": 0.002}
_SHARES = {"rows": 0.005, "columns": 0.005, "aspect": 0.005, "spacing_mm": 0.005}
_SHARES |= {"extent_mm": 0.005, "extent": 0.005, "spread": 0.01, "mean": 0.005}


def step_of(name: str, value: float) -> float:
    """How near another value of a statistic counts as equal to this one."""
    kind = name.rpartition(".")[2]
    return _STEPS.get(kind, _SHARES.get(kind, 0.0) * abs(value))


def values_of(facts: ImageFacts, found: Landmarks) -> dict[str, float]:
    """Every statistic of one image, by name."""
    values = {**_of_image(facts), **_of_labels(found)}
    if found.names:
        values |= _of_landmarks(facts, found)
    return values


def _of_image(facts: ImageFacts) -> dict[str, float]:
    rows, columns = facts.size
    spacing = facts.spacing_mm
    return {
        "image.rows": rows,
        "image.columns": columns,
        "image.aspect": columns / rows,
        "image.bits": facts.bits,
        "image.channels": facts.channels,
        "image.has_spacing": float(spacing is not None),
        "image.spacing_mm": math.nan if spacing is None else math.sqrt(spacing[0] * spacing[1]),
        "image.p5": facts.p5,
        "image.p50": facts.p50,
        "image.p95": facts.p95,
        "image.contrast": facts.contrast,
        "image.saturated": facts.saturated,
        "image.detail": facts.detail,
    }


def _of_landmarks(facts: ImageFacts, found: Landmarks) -> dict[str, float]:
    """Of each landmark, and of all together."""
    each: dict[str, Any] = {"confidence": found.confidence, "spread": _network_spread(found)}
    if found.two_peaks is not None:
        each["two_peaks"] = found.two_peaks
    if found.visibility is not None:
        each["visibility"] = found.visibility
    values = {}
    for what, numbers in each.items():
        known = np.asarray(numbers, np.float64)
        finite = known[np.isfinite(known)]
        values[f"landmarks.{what}"] = float(finite.mean()) if finite.size else math.nan
        pairs = zip(found.names, known.tolist(), strict=True)
        values |= {f"landmark.{name}.{what}": value for name, value in pairs}
    return values | _of_extent(facts, found)


def _network_spread(found: Landmarks) -> Any:
    """Spreads in network pixels, so that they do not depend on the size of the image."""
    if found.placement is None:
        return np.full(len(found.names), np.nan)
    x, y = found.placement.scale
    return found.spread * math.sqrt(x * y)


def _of_extent(facts: ImageFacts, found: Landmarks) -> dict[str, float]:
    """How far the landmarks lie around their centre: as a share of the image, and in mm."""
    finite = np.isfinite(found.points).all(axis=1)
    values = {"landmarks.finite": float(finite.mean())}
    if finite.sum() < 2:
        return values
    # The median is not moved by one landmark that is far off.
    around = found.points[finite].astype(np.float64) - np.median(found.points[finite], axis=0)
    extent_px = float(np.hypot(around[:, 0], around[:, 1]).mean())
    values["landmarks.extent"] = extent_px / math.sqrt(facts.size[0] * facts.size[1])
    if facts.spacing_mm is not None:
        row, column = facts.spacing_mm
        lengths = np.hypot(around[:, 0] * column, around[:, 1] * row)
        values["landmarks.extent_mm"] = float(lengths.mean())
    return values


def _of_labels(found: Landmarks) -> dict[str, float]:
    """Probabilities of labels, and the mean of each map."""
    values = {
        f"label.{output}.{name}.probability": float(probability)
        for output, labels in found.labels.items()
        for name, probability in zip(labels.names, labels.probabilities, strict=True)
    }
    maps = found.maps.items()
    return values | {f"map.{name}.mean": float(np.mean(array)) for name, array in maps}
