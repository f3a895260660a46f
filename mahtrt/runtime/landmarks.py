"""What a session gives: landmarks in the pixels of the image the caller gave."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.preprocess import Placement, network_from_output
from mahtrt.errors import ModelError
from mahtrt.spec import ModelSpec, OutputKind

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Landmarks:
    """Landmarks of one image.

    Attributes:
        points: (K, 2) float32, x and y in the image's pixels, pixel centres at integers.
        confidence: (K,) float32; NaN where the network gives none.
        spread: (K,) float32, standard deviation in the image's pixels; NaN likewise.
        names: K names.
        spacing_mm: (row, column) mm per pixel of the image, None where unknown.
        spread_xy: (K, 2) float32, the spread along x and y in the image's pixels. They differ
            where the image was stretched to fit; their geometric mean is ``spread``.
        outputs: The network's own outputs for this image, without the batch axis, where they
            were asked for or there is nothing to decode.
    """

    points: Array
    confidence: Array
    spread: Array
    names: tuple[str, ...]
    spacing_mm: tuple[float, float] | None = None
    spread_xy: Array | None = None
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
            }
            if millimetres is not None:
                row["x_mm"], row["y_mm"] = map(_number, millimetres[i])
            rows.append(row)
        spacing = None if self.spacing_mm is None else list(self.spacing_mm)
        return {"landmarks": rows, "spacing_mm": spacing}


def needed_outputs(spec: ModelSpec) -> tuple[str, ...]:
    """The outputs that :func:`landmarks_from_outputs` reads.

    Raises:
        ModelError: The spec promises landmarks that no output holds.
    """
    if spec.decode.method == "none":
        return tuple(output.name for output in spec.outputs)
    if spec.output("landmarks") is None:
        raise ModelError(
            f"network {spec.family}",
            got=f"decode {spec.decode.method!r} and no output of kind landmarks",
            expected="the decoding inside the graph",
            fix="Export the network with mahtrt export, which puts it there.",
        )
    kinds: tuple[OutputKind, ...] = ("landmarks", "confidence", "spread")
    return tuple(output.name for kind in kinds if (output := spec.output(kind)))


def landmarks_from_outputs(
    outputs: Mapping[str, Array],
    index: int,
    spec: ModelSpec,
    placement: Placement,
    *,
    spacing_mm: tuple[float, float] | None = None,
    keep_outputs: bool = False,
) -> Landmarks:
    """Read one image's landmarks from a batch of outputs.

    Args:
        outputs: Name to array, batch first; at least :func:`needed_outputs`.
        index: Place of the image in the batch.
        placement: Where the image lies on the network's input.
        keep_outputs: Also hand out the arrays themselves.
    """
    decodes = spec.decode.method != "none"
    kept = None
    if keep_outputs or not decodes:
        kept = {name: array[index].copy() for name, array in outputs.items()}
    if not decodes:
        empty = np.empty(0, np.float32)
        return Landmarks(
            empty.reshape(0, 2), empty, empty, (), spacing_mm, empty.reshape(0, 2), kept
        )
    output = spec.output("landmarks")
    assert output is not None
    points = outputs[output.name][index].reshape(spec.num_landmarks, 2)  # (K, 2)
    network_px = network_from_output(points, output.frame, spec)
    spread, spread_xy = _spread(outputs, index, spec, placement)
    return Landmarks(
        points=placement.image_from_network(network_px),
        confidence=_per_landmark(outputs, index, spec, "confidence"),
        spread=spread,
        names=spec.landmarks,
        spacing_mm=spacing_mm,
        spread_xy=spread_xy,
        outputs=kept,
    )


def _spread(
    outputs: Mapping[str, Array], index: int, spec: ModelSpec, placement: Placement
) -> tuple[Array, Array]:
    """Spread (K,) and its parts along x and y (K, 2), in the image's pixels."""
    spread = _per_landmark(outputs, index, spec, "spread")
    output = spec.output("spread")
    frame = output.frame if output else "network"
    # A frame is a grid over the network's input: the step of one unit, in network pixels.
    corners = network_from_output(np.array([[0, 0], [1, 1]], np.float32), frame, spec)
    step = (corners[1] - corners[0]).astype(np.float64)
    along = spread[:, None] * (step / placement.scale)
    mean = placement.image_length_from_network(spread * float(np.sqrt(step.prod())))
    return mean, along.astype(np.float32)


def _per_landmark(
    outputs: Mapping[str, Array], index: int, spec: ModelSpec, kind: OutputKind
) -> Array:
    output = spec.output(kind)
    if output is None:
        return np.full(spec.num_landmarks, np.nan, np.float32)
    return np.array(outputs[output.name][index], np.float32).reshape(spec.num_landmarks)


def _number(value: Any) -> float | None:
    number = float(value)
    return round(number, 4) if math.isfinite(number) else None
