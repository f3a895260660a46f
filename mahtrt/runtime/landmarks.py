"""What a session gives: landmarks in the pixels of the image the caller gave."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.bundle.manifest import EngineRecord
from mahtrt.data.preprocess import Placement
from mahtrt.measure.wide_heatmaps import is_wide
from mahtrt.runtime.decode import Array, Decoded, decode
from mahtrt.spec import ModelSpec

_EMPTY = np.empty(0, np.float32)
# Points, confidence, spread and names of a network without landmarks.
_NOTHING = (_EMPTY.reshape(0, 2), _EMPTY, _EMPTY, ())


@dataclass(frozen=True, slots=True, eq=False)
class Landmarks:
    """Landmarks of one image.

    Attributes:
        points: (K, 2) float32, x and y in the image's pixels, pixel centres at integers.
        confidence: (K,) float32; NaN where the network gives none.
        spread: (K,) float32, standard deviation in the image's pixels, of both axes together;
            NaN likewise.
        names: K names.
        spacing_mm: (row, column) mm per pixel of the image, None where unknown.
        spread_xy: (K, 2) float32, standard deviation along x and along y of a round heatmap of
            that spread, in the image's pixels: ``spread / sqrt(2)`` each, where the image was not
            stretched to fit.
        two_peaks: (K,) whether the heatmap is far wider than usual, as it is with two peaks, so
            that the point may be far off (:mod:`mahtrt.measure.wide_heatmaps`); None where that
            cannot be told.
        outputs: The network's own outputs for this image, without the batch axis, where they
            were asked for or there is nothing to decode.
    """

    points: Array
    confidence: Array
    spread: Array
    names: tuple[str, ...]
    spacing_mm: tuple[float, float] | None = None
    spread_xy: Array | None = None
    two_peaks: NDArray[np.bool_] | None = None
    outputs: Mapping[str, Array] | None = None

    @property
    def points_mm(self) -> Array | None:
        """(K, 2) float32, x and y in mm from the centre of the image's first pixel, or None."""
        if self.spacing_mm is None:
            return None
        row, column = self.spacing_mm
        return self.points * np.array([column, row], np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; None where a value is unknown. ``outputs`` are left out."""
        millimetres = self.points_mm
        rows: list[dict[str, Any]] = []
        for i, name in enumerate(self.names):
            row: dict[str, Any] = {
                "name": name,
                "x": _number(self.points[i, 0]),
                "y": _number(self.points[i, 1]),
                "confidence": _number(self.confidence[i]),
                "spread_px": _number(self.spread[i]),
                "two_peaks": None if self.two_peaks is None else bool(self.two_peaks[i]),
            }
            if millimetres is not None:
                row["x_mm"], row["y_mm"] = map(_number, millimetres[i])
            rows.append(row)
        spacing = None if self.spacing_mm is None else list(self.spacing_mm)
        return {"landmarks": rows, "spacing_mm": spacing}


def usual_spread_px(engine: EngineRecord, spec: ModelSpec) -> NDArray[np.float64] | None:
    """The usual spread of each landmark, (K,) in network pixels, as the build measured it.

    Returns:
        NaN for a landmark of which it is not known; None where it is known of none.
    """
    rows = engine.accuracy.per_landmark if engine.accuracy else ()
    known = {row.name: row.usual_spread_px for row in rows}
    usual = np.array([known.get(name) for name in spec.landmarks], np.float64)  # None becomes NaN
    return usual if np.isfinite(usual).any() else None


def landmarks_from_outputs(
    outputs: Mapping[str, Array],
    spec: ModelSpec,
    placements: Sequence[Placement],
    *,
    spacings_mm: Sequence[tuple[float, float] | None] | None = None,
    keep_outputs: bool = False,
    usual_px: NDArray[np.float64] | None = None,
) -> list[Landmarks]:
    """Landmarks of the first images of a batch, in each image's pixels.

    Args:
        outputs: Name to array, batch first; at least
            :func:`mahtrt.runtime.decode.needed_outputs`.
        placements: Where each image lies on the network's input.
        spacings_mm: (row, column) mm per pixel of each image, where known.
        keep_outputs: Also hand out the arrays themselves.
        usual_px: (K,) usual spreads of the landmarks in network pixels, where they are known.
    """
    spacings = spacings_mm or [None] * len(placements)
    if spec.decode.method == "none":
        return [
            Landmarks(*_NOTHING, spacing, outputs=_own(outputs, i))
            for i, spacing in enumerate(spacings)
        ]
    decoded, cell_px = decode(outputs, spec), spec.heatmap_cell_px
    return [
        Landmarks(
            points=placement.image_from_network(decoded.points_px[i]),
            confidence=decoded.confidence[i],
            spread=placement.image_length_from_network(decoded.spread_px[i]),
            names=spec.landmarks,
            spacing_mm=spacing,
            spread_xy=_along(decoded, i, placement),
            two_peaks=None
            if usual_px is None
            else is_wide(decoded.spread_px[i], usual_px, cell_px),
            outputs=_own(outputs, i) if keep_outputs else None,
        )
        for i, (placement, spacing) in enumerate(zip(placements, spacings, strict=True))
    ]


def _own(outputs: Mapping[str, Array], index: int) -> dict[str, Array]:
    return {name: array[index].copy() for name, array in outputs.items()}


def _along(decoded: Decoded, index: int, placement: Placement) -> Array:
    """Deviation along x and along y, (K, 2), in the image's pixels."""
    # Both axes make up the spread: of a round heatmap each has half of its square.
    steps = decoded.unit_px / placement.scale / math.sqrt(2)
    along: Array = (decoded.spread[index][:, None] * steps).astype(np.float32)
    return along


def _number(value: Any) -> float | None:
    number = float(value)
    return round(number, 4) if math.isfinite(number) else None
