"""Reference statistics: made from the images of a build, run through the engine to be watched."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mahtrt.bundle.reference_statistics import (
    MOST_KNOTS,
    ReferenceStatistics,
    StatisticRecord,
    knot_ranks,
)
from mahtrt.data.feed import Image
from mahtrt.data.sample import Sample
from mahtrt.measure.wide_heatmaps import is_wide
from mahtrt.monitoring.facts import facts_of
from mahtrt.monitoring.statistics import values_of
from mahtrt.runtime.landmarks import Landmarks
from mahtrt.spec import ModelSpec

MOST_IMAGES = 200
_DIGITS = 6  # significant ones that are kept


class Runs(Protocol):
    """What is needed of a session."""

    @property
    def spec(self) -> ModelSpec: ...
    def run(self, *images: Image) -> Landmarks: ...


def make_reference(
    session: Runs,
    samples: Iterable[Sample],
    engine: str,
    *,
    usual_px: NDArray[np.float64] | None = None,
    progress: Callable[[int], None] | None = None,
) -> ReferenceStatistics:
    """Run images through an engine and keep the statistics of what there was.

    Args:
        session: The open engine.
        samples: The images, at most some hundreds.
        engine: Its name.
        usual_px: (K,) usual spreads in network pixels, where the session does not know them yet
            (:func:`mahtrt.runtime.landmarks.usual_spread_px`).
        progress: Called with the number of images done.
    """
    rows = []
    for done, sample in enumerate(samples, start=1):
        found = session.run(*sample.images)
        if usual_px is not None and found.placement is not None:
            found = replace(found, two_peaks=_wide(found, usual_px, session.spec))
        rows.append(values_of(facts_of(sample.image, sample.spacing_mm), found))
        if progress is not None:
            progress(done)
    return reference_of(rows, engine)


def reference_of(rows: Sequence[Mapping[str, float]], engine: str) -> ReferenceStatistics:
    """The statistics of images whose values are known.

    Args:
        rows: Statistic to value, a mapping for each image
            (:func:`mahtrt.monitoring.statistics.values_of`).
        engine: Name of the engine that gave the results.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    columns = ((name, [row[name] for row in rows if name in row]) for name in names)
    kept = ((name, [v for v in column if math.isfinite(v)]) for name, column in columns)
    statistics = tuple(_record(name, column) for name, column in kept if column)
    return ReferenceStatistics(engine, len(rows), statistics)


def _record(name: str, column: Sequence[float]) -> StatisticRecord:
    values = np.sort(np.array(column, np.float64))
    ranks = knot_ranks(len(values), min(len(values), MOST_KNOTS))
    return StatisticRecord(
        name=name,
        images=len(values),
        mean=_short(values.mean()),
        deviation=_short(values.std(ddof=1)) if len(values) > 1 else 0.0,
        knots=tuple(_short(values[rank - 1]) for rank in ranks),
    )


def _wide(found: Landmarks, usual_px: NDArray[np.float64], spec: ModelSpec) -> NDArray[np.bool_]:
    assert found.placement is not None
    x, y = found.placement.scale
    return is_wide(found.spread * math.sqrt(x * y), usual_px, spec.heatmap_cell_px)


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
