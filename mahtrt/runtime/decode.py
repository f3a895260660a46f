"""Outputs of a network to landmarks in its input pixels: the only place that decodes.

Maps, logits and visibility are handed on as the network gave them.

Session, planner, sensitivity, choice of methods and parity all read outputs here, so that a frame
or a unit means the same to each of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mahtrt.errors import ModelError
from mahtrt.measure.judged import judged_outputs
from mahtrt.spec import ModelSpec, OutputKind, OutputSpec

Array = NDArray[np.float32]

_READ: tuple[OutputKind, ...] = ("landmarks", "confidence", "spread")


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """Landmarks and other results of N images, as the network gave them.

    Attributes:
        points_px: (N, K, 2) x, y in the network's input pixels.
        confidence: (N, K), NaN where the network gives none.
        spread: (N, K) standard deviation of the heatmaps in units of its own frame, NaN likewise.
        unit_px: (2,) float64, how many network pixels such a unit is along x and y.
        others: Name to array, N first, of the outputs that are judged beside landmarks
            (:func:`mahtrt.measure.judged.judged_outputs`).
    """

    points_px: Array
    confidence: Array
    spread: Array
    unit_px: NDArray[np.float64]
    others: Mapping[str, Array] = field(default_factory=dict)

    @property
    def spread_px(self) -> Array:
        """(N, K) spread in network pixels, the geometric mean of x and y."""
        return self.spread * float(np.sqrt(self.unit_px.prod()))


def landmark_names(spec: ModelSpec) -> tuple[str, ...]:
    """Names of the landmarks that :func:`decode` gives: none where the decoding is ``none``."""
    return () if spec.decode.method == "none" else spec.landmarks


def check_judged(spec: ModelSpec, subject: str) -> None:
    """Refuse a network that gives nothing that engines could be held against each other by.

    Raises:
        ModelError: It gives none of it.
    """
    if not landmark_names(spec) and not judged_outputs(spec):
        raise ModelError(
            subject,
            got="a network without landmarks, maps and logits",
            expected="one of them to check engines by",
        )


def needed_outputs(spec: ModelSpec) -> tuple[str, ...]:
    """Names of the outputs that :func:`decode` reads; of all outputs where it reads none.

    Raises:
        ModelError: The spec promises landmarks that no output holds.
    """
    others = tuple(output.name for output in judged_outputs(spec))
    if not landmark_names(spec):
        return others or tuple(output.name for output in spec.outputs)
    if spec.output("landmarks") is None:
        raise ModelError(
            f"network {spec.family}",
            got=f"decode {spec.decode.method!r} and no output of kind landmarks",
            expected="the decoding inside the graph",
            fix="Export the network with mahtrt export, which puts it there.",
        )
    return (*(output.name for kind in _READ if (output := spec.output(kind))), *others)


def decode(outputs: Mapping[str, Array], spec: ModelSpec) -> Decoded:
    """Landmarks and other results from a batch of outputs.

    Args:
        outputs: Name to array, N first; the landmarks, and what else there is of
            :func:`needed_outputs`.
    """
    others = {
        output.name: _in_form(outputs[output.name], output)
        for output in judged_outputs(spec)
        if output.name in outputs
    }
    if not landmark_names(spec):
        images = len(next(iter(outputs.values())))
        nothing = np.empty((images, 0), np.float32)
        return Decoded(nothing.reshape(images, 0, 2), nothing, nothing, np.ones(2), others)
    landmarks, spread = spec.output("landmarks"), spec.output("spread")
    assert landmarks is not None  # needed_outputs refuses it
    points = points_px(outputs[landmarks.name], landmarks, spec)
    # A frame is a grid over the network's input: the step of one unit, in network pixels.
    frame = spread.frame if spread else "network"
    corners = network_from_output(np.array([[0, 0], [1, 1]], np.float32), frame, spec)
    return Decoded(
        points_px=points,
        confidence=_per_landmark(outputs, len(points), spec, "confidence"),
        spread=_per_landmark(outputs, len(points), spec, "spread"),
        unit_px=(corners[1] - corners[0]).astype(np.float64),
        others=others,
    )


def decode_batches(batches: Sequence[Mapping[str, Array]], images: int, spec: ModelSpec) -> Decoded:
    """Landmarks of the first ``images`` images of several batches; the last may be filled up."""
    joined = {
        name: np.concatenate([each[name] for each in batches])[:images] for name in batches[0]
    }
    return decode(joined, spec)


def points_px(array: Array, output: OutputSpec, spec: ModelSpec) -> Array:
    """The points of an output of kind landmarks, (N, K, 2) in the network's input pixels."""
    return network_from_output(array.reshape(len(array), -1, 2), output.frame, spec)


def network_from_output(points: NDArray[np.floating], frame: str, spec: ModelSpec) -> Array:
    """Points (…, 2) as the network gave them, in its input pixels.

    Args:
        points: x, y in ``frame``.
        frame: ``network``, ``heatmap`` or ``normalized``.
        spec: Gives the sizes of the frames.
    """
    height, width = spec.input.size
    points = np.asarray(points, np.float32)
    if frame == "normalized":
        return points * np.array([width, height], np.float32) - np.float32(0.5)
    if frame == "heatmap":
        assert spec.decode.heatmap_size is not None
        rows, columns = spec.decode.heatmap_size
        scale = np.array([width / columns, height / rows], np.float32)
        return (points + np.float32(0.5)) * scale - np.float32(0.5)
    return points


def _per_landmark(
    outputs: Mapping[str, Array], images: int, spec: ModelSpec, kind: OutputKind
) -> Array:
    output = spec.output(kind)
    if output is None or output.name not in outputs:
        return np.full((images, spec.num_landmarks), np.nan, np.float32)
    return np.array(outputs[output.name], np.float32).reshape(images, spec.num_landmarks)


def _in_form(array: Array, output: OutputSpec) -> Array:
    """A map as (N, C, h, w), logits as (N, L), visibility as (N, K)."""
    values = np.array(array, np.float32)
    if output.kind == "map":
        return values.reshape(len(values), -1, *values.shape[-2:])
    return values.reshape(len(values), -1)
