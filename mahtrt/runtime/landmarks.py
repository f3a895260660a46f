"""What a session gives: landmarks in the pixels of the image the caller gave, maps and labels."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.bundle.manifest import EngineRecord
from mahtrt.data.preprocess import Placement
from mahtrt.errors import InputError
from mahtrt.measure.judged import judged_outputs
from mahtrt.measure.wide_heatmaps import is_wide
from mahtrt.runtime.decode import Array, Decoded, decode, landmark_names
from mahtrt.runtime.labels import Labels, labels_from_output
from mahtrt.spec import ModelSpec, OutputSpec


@dataclass(frozen=True, slots=True, eq=False)
class Landmarks:
    """Landmarks of one image, and what else the network says of it.

    A network without landmarks has none of them: its points are (0, 2).

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
            were asked for or there is nothing of the above.
        visibility: (K,) float32, probability that a landmark can be seen; None where the network
            does not say.
        visibility_threshold: Probability from which a landmark counts as visible.
        maps: Output name to (C, h, w) float32, over the whole of the network's first input; see
            :meth:`map_in_image`.
        labels: Output name to labels with their probabilities.
        placement: Where the image lies on the network's first input.
        input_size: (height, width) of that input.
        engine: Name of the engine that made the result; "" where it is not known.
        device: What it ran on, ``cpu`` or ``cuda:0 NVIDIA H200``; "" likewise.
    """

    points: Array
    confidence: Array
    spread: Array
    names: tuple[str, ...]
    spacing_mm: tuple[float, float] | None = None
    spread_xy: Array | None = None
    two_peaks: NDArray[np.bool_] | None = None
    outputs: Mapping[str, Array] | None = None
    visibility: Array | None = None
    visibility_threshold: float = 0.5
    maps: Mapping[str, Array] = field(default_factory=dict)
    labels: Mapping[str, Labels] = field(default_factory=dict)
    placement: Placement | None = None
    input_size: tuple[int, int] | None = None
    engine: str = ""
    device: str = ""

    @property
    def visible(self) -> NDArray[np.bool_] | None:
        """(K,) whether a landmark counts as visible, or None; False where that is NaN."""
        if self.visibility is None:
            return None
        return np.asarray(self.visibility >= self.visibility_threshold, bool)

    def map_in_image(self, name: str, size: tuple[int, ...]) -> Array:
        """A map in the pixels of the image: padding is cut off, cropping is undone.

        Args:
            name: Name of the output.
            size: (height, width) of the image that was run, or its whole shape.

        Returns:
            (C, height, width) float32, NaN where the image was cropped.

        Raises:
            InputError: The network gives no such map.
        """
        from mahtrt.data.map_frames import image_map_from_network

        if name not in self.maps or self.placement is None or self.input_size is None:
            expected = f"one of {', '.join(self.maps) or 'none: there is no map here'}"
            raise InputError(f"map {name!r}", expected=expected)
        rows, columns = size[:2]
        found = self.maps[name]
        return image_map_from_network(found, self.placement, self.input_size, (rows, columns))

    @property
    def points_mm(self) -> Array | None:
        """(K, 2) float32, x and y in mm from the centre of the image's first pixel, or None."""
        if self.spacing_mm is None:
            return None
        row, column = self.spacing_mm
        return self.points * np.array([column, row], np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; None where a value is unknown. ``outputs`` are left out.

        Of a map there are the least, mean and largest value.
        """
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
            if self.visibility is not None and self.visible is not None:
                row["visibility"] = _number(self.visibility[i])
                row["visible"] = bool(self.visible[i])
            rows.append(row)
        spacing = None if self.spacing_mm is None else list(self.spacing_mm)
        found: dict[str, Any] = {"landmarks": rows, "spacing_mm": spacing}
        if self.engine:
            found |= {"engine": self.engine, "device": self.device}
        if self.labels:
            found["labels"] = {name: labels.to_dict() for name, labels in self.labels.items()}
        if self.maps:
            found["maps"] = self.map_summaries()
        return found

    def map_summaries(self) -> dict[str, dict[str, Any]]:
        """Output name to ``size``, ``min``, ``mean`` and ``max`` of the map, plain."""
        return {name: _summary(values) for name, values in self.maps.items()}


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
    decoded, cell_px = decode(outputs, spec), spec.heatmap_cell_px
    keep = keep_outputs or not (landmark_names(spec) or decoded.others)
    return [
        Landmarks(
            points=placement.image_from_network(decoded.points_px[i]),
            confidence=decoded.confidence[i],
            spread=placement.image_length_from_network(decoded.spread_px[i]),
            names=landmark_names(spec),
            spacing_mm=spacing,
            spread_xy=_along(decoded, i, placement),
            two_peaks=None
            if usual_px is None
            else is_wide(decoded.spread_px[i], usual_px, cell_px),
            outputs=_own(outputs, i) if keep else None,
            placement=placement,
            input_size=spec.input.size,
            **_others({name: values[i] for name, values in decoded.others.items()}, spec),
        )
        for i, (placement, spacing) in enumerate(zip(placements, spacings, strict=True))
    ]


def made_by(found: Landmarks, engine: str, device: str) -> Landmarks:
    """A result with the names of the engine and the device that made it."""
    return replace(found, engine=engine, device=device)


def output_set(
    found: Sequence[Landmarks], spec: ModelSpec, only: Collection[str] | None = None
) -> dict[str, Array]:
    """The judged outputs of several results, N first, as :mod:`mahtrt.measure.outputs` takes them.

    Args:
        found: Results of a session, or what stands in for them.
        only: Names of the outputs to give; all where None.
    """
    return {
        output.name: np.stack([_output(each, output) for each in found])
        for output in judged_outputs(spec)
        if only is None or output.name in only
    }


def _output(found: Landmarks, output: OutputSpec) -> Array:
    if output.kind == "map":
        return found.maps[output.name]
    if output.kind == "logits":
        return found.labels[output.name].logits
    assert found.visibility is not None
    return found.visibility


def with_outputs(found: Landmarks, outputs: Mapping[str, Array], spec: ModelSpec) -> Landmarks:
    """A result with maps, labels and visibility that are known from elsewhere.

    Args:
        outputs: Output name to array of this image, without the batch axis.
    """
    return replace(found, **_others(outputs, spec))


def _others(outputs: Mapping[str, Array], spec: ModelSpec) -> dict[str, Any]:
    """Visibility, maps and labels of one image, of those of its outputs that there are."""
    found: dict[str, Any] = {"maps": {}, "labels": {}}
    for output in judged_outputs(spec):
        if output.name not in outputs:
            continue
        values = outputs[output.name].copy()
        if output.kind == "map":
            found["maps"][output.name] = values
        elif output.kind == "logits":
            found["labels"][output.name] = labels_from_output(values, output)
        else:
            found |= {"visibility": values, "visibility_threshold": output.threshold}
    return found


def _own(outputs: Mapping[str, Array], index: int) -> dict[str, Array]:
    return {name: array[index].copy() for name, array in outputs.items()}


def _along(decoded: Decoded, index: int, placement: Placement) -> Array:
    """Deviation along x and along y, (K, 2), in the image's pixels."""
    # Both axes make up the spread: of a round heatmap each has half of its square.
    steps = decoded.unit_px / placement.scale / math.sqrt(2)
    along: Array = (decoded.spread[index][:, None] * steps).astype(np.float32)
    return along


def _summary(values: Array) -> dict[str, Any]:
    """Least, mean and largest value of a map; None where one is not finite."""
    spots = {"min": values.min(), "mean": values.mean(dtype=np.float64), "max": values.max()}
    return {"size": list(values.shape), **{name: _number(value) for name, value in spots.items()}}


def _number(value: Any) -> float | None:
    number = float(value)
    return round(number, 4) if math.isfinite(number) else None
