"""Outputs to landmarks: frames, spread, missing outputs, JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import tiny_network as tiny
from hypothesis import given
from hypothesis import strategies as st

from mahtrt.data.preprocess import Placement
from mahtrt.runtime.decode import needed_outputs
from mahtrt.runtime.landmarks import Landmarks, landmarks_from_outputs
from mahtrt.spec import Frame, ModelSpec, OutputSpec

Pair = tuple[float, float]

scales = st.tuples(st.floats(0.05, 20), st.floats(0.05, 20))
offsets = st.tuples(st.floats(-100, 100), st.floats(-100, 100))
coordinates = st.floats(-50, 50, width=32)


def spec_in(frame: Frame) -> ModelSpec:
    outputs = (
        OutputSpec("landmarks", "landmarks", frame),
        OutputSpec("spread", "spread", frame),
    )
    return replace(tiny.SPEC, outputs=outputs, landmarks=("only",))


@given(coordinates, coordinates, st.floats(0, 50, width=32), scales, offsets)
def test_frames_agree(x: float, y: float, spread: float, scale: Pair, offset: Pair) -> None:
    placement = Placement(scale, offset)
    (height, width), (rows, columns) = tiny.SIZE, tiny.CELLS
    # The same place and the same length in the units of each frame (a unit is square in each).
    given_as: dict[Frame, tuple[Pair, float]] = {
        "network": ((x, y), spread),
        "heatmap": (((x + 0.5) * columns / width - 0.5, (y + 0.5) * rows / height - 0.5), 0.5),
        "normalized": (((x + 0.5) / width, (y + 0.5) / height), (width * height) ** -0.5),
    }
    found = {}
    for frame, (point, size) in given_as.items():
        size = spread if frame == "network" else spread * size
        outputs = {
            "landmarks": np.array([[point]], np.float32),
            "spread": np.array([[size]], np.float32),
        }
        (found[frame],) = landmarks_from_outputs(outputs, spec_in(frame), [placement])
    for frame in ("heatmap", "normalized"):
        for name in ("points", "spread"):
            np.testing.assert_allclose(
                getattr(found[frame], name),
                getattr(found["network"], name),
                rtol=1e-4,
                atol=1e-3 / min(scale),
            )
    expected = placement.image_from_network(np.array([[x, y]], np.float32))
    np.testing.assert_allclose(found["network"].points, expected, rtol=1e-5, atol=1e-5)


@given(st.floats(0.125, 50, width=32), scales)
def test_spread_is_the_mean_of_its_axes(spread: float, scale: tuple[float, float]) -> None:
    outputs = {"landmarks": np.zeros((1, 1, 2), "f"), "spread": np.array([[spread]], np.float32)}
    (found,) = landmarks_from_outputs(outputs, spec_in("network"), [Placement(scale, (0, 0))])
    assert found.spread_xy is not None
    each = spread / np.sqrt(2)  # along one axis, of a spread of both
    np.testing.assert_allclose(found.spread_xy, [[each / scale[0], each / scale[1]]], rtol=1e-5)
    np.testing.assert_allclose(found.spread, np.sqrt(2 * found.spread_xy.prod(1)), rtol=1e-5)


def test_points_in_one_row_are_taken_in_pairs() -> None:
    outputs = {"landmarks": np.array([[1, 2]], np.float32), "spread": np.zeros((1, 1), "f")}
    (found,) = landmarks_from_outputs(outputs, spec_in("network"), [Placement((1, 1), (0, 0))])
    np.testing.assert_array_equal(found.points, [[1, 2]])


def test_only_what_is_read_is_fetched() -> None:
    assert needed_outputs(tiny.SPEC) == ("landmarks", "confidence", "spread")


def test_json_has_millimetres_only_with_a_spacing() -> None:
    points = np.array([[10, 20]], np.float32)
    values = (points, np.array([0.5], np.float32), np.array([np.nan], np.float32), ("sella",))
    assert Landmarks(*values).points_mm is None
    assert Landmarks(*values).to_dict() == {
        "landmarks": [
            {
                "name": "sella",
                "x": 10.0,
                "y": 20.0,
                "confidence": 0.5,
                "spread_px": None,
                "two_peaks": None,
            }
        ],
        "spacing_mm": None,
    }
    document = Landmarks(*values, spacing_mm=(0.5, 0.1)).to_dict()
    assert document["landmarks"][0]["x_mm"] == pytest.approx(1.0)
    assert document["landmarks"][0]["y_mm"] == pytest.approx(10.0)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
