"""Other ways to read points from heatmaps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.runtime.expectation.causes.cause import Cause
from mahtrt.runtime.expectation.pipeline import Outputs, Points, decoded_points
from mahtrt.runtime.soft_argmax import soft_argmax
from mahtrt.spec import ModelSpec

Maps = NDArray[np.float32]  # (N, K, h, w)
_ADVICE = (
    "If the network is meant to be read that way, set {field} in the spec; else read points in "
    "your pipeline as decode.method {{method}} with temperature {{temperature}} does."
)
_OWN = (
    "Read points in your pipeline as the spec's decode.method {method} with temperature "
    "{temperature} does, or set decode.method and what belongs to it as the network was trained."
)


def _read(name: str, words: str, advice: str, points: Callable[[Maps, ModelSpec], Points]) -> Cause:
    """A cause that reads heatmaps; networks that give none keep their points."""

    def decode(outputs: Outputs, spec: ModelSpec) -> Points:
        output = spec.output("heatmaps")
        if output is None or output.name not in outputs:
            return decoded_points(outputs, spec)
        return points(outputs[output.name], spec)

    return Cause(name, words, advice, lambda pipeline: replace(pipeline, decode=decode))


def _network(cells: Points, maps: Maps, spec: ModelSpec) -> Points:
    """Cells (N, K, 2) as x, y in network pixels."""
    side = np.array(spec.input.size[::-1], np.float64) / np.array(maps.shape[:-3:-1], np.float64)
    return (cells + 0.5) * side - 0.5


def _peaks(maps: Maps) -> tuple[NDArray[Any], NDArray[Any]]:
    """Column and row of the highest cell, each (N, K)."""
    at = maps.reshape(*maps.shape[:2], -1).argmax(-1)
    return at % maps.shape[-1], at // maps.shape[-1]


def _argmax(maps: Maps, spec: ModelSpec) -> Points:
    return _network(np.stack(_peaks(maps), -1).astype(np.float64), maps, spec)


def _argmax_corners(maps: Maps, spec: ModelSpec) -> Points:
    side = np.array(spec.input.size[::-1], np.float64) / np.array(maps.shape[:-3:-1], np.float64)
    return np.asarray(np.stack(_peaks(maps), -1) * side, np.float64)


def _quarter(maps: Maps, spec: ModelSpec) -> Points:
    """The highest cell, moved by a quarter of a cell towards the higher neighbour."""
    x, y = _peaks(maps)
    rows, columns = maps.shape[-2:]
    n, k = np.indices(x.shape)
    cells = []
    for at, last, (dx, dy) in ((x, columns - 1, (1, 0)), (y, rows - 1, (0, 1))):
        inside = (at > 0) & (at < last)
        after, before = (
            maps[n, k, np.clip(y + sign * dy, 0, rows - 1), np.clip(x + sign * dx, 0, columns - 1)]
            for sign in (1, -1)
        )
        cells.append(at + np.where(inside, 0.25 * np.sign(after - before), 0.0))
    return _network(np.stack(cells, -1).astype(np.float64), maps, spec)


def _mass(maps: Maps, spec: ModelSpec) -> Points:
    """The centre of mass of what is above zero."""
    weights = np.maximum(maps.astype(np.float64), 0.0)
    total = np.maximum(weights.sum((-2, -1)), 1e-12)
    xs, ys = np.arange(maps.shape[-1]), np.arange(maps.shape[-2])
    cells = [(weights.sum(-2) * xs).sum(-1) / total, (weights.sum(-1) * ys).sum(-1) / total]
    return _network(np.stack(cells, -1), maps, spec)


def _soft(temperature: float) -> Callable[[Maps, ModelSpec], Points]:
    return lambda maps, spec: soft_argmax(maps, temperature, spec.input.size)[0]


def _tempered(temperature: float) -> Cause:
    return _read(
        f"soft_argmax_{temperature:g}".replace(".", "_"),
        f"Your pipeline reads heatmaps by a soft-argmax of temperature {temperature:g}; the spec "
        "says {temperature}.",
        _ADVICE.format(field=f"decode.temperature to {temperature:g}"),
        _soft(temperature),
    )


DECODING = (
    _read(
        "argmax",
        "Your pipeline takes the highest cell of a heatmap, without what lies between cells; the "
        "spec says {method}.",
        _OWN,
        _argmax,
    ),
    _read(
        "argmax_times_stride",
        "Your pipeline takes the index of a heatmap's highest cell times the stride; the spec says "
        "{method}.",
        _OWN,
        _argmax_corners,
    ),
    _read(
        "argmax_and_quarter",
        "Your pipeline takes the highest cell of a heatmap, moved a quarter of a cell towards its "
        "higher neighbour; the spec says {method}.",
        _OWN,
        _quarter,
    ),
    _read(
        "centre_of_mass",
        "Your pipeline takes the centre of mass of the heatmaps; the spec says {method}.",
        _OWN,
        _mass,
    ),
    *(_tempered(each) for each in (1.0, 0.1, 0.05, 0.01)),
)
