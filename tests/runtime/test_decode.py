"""Outputs in every frame and shape, as landmarks in the network's input pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny_network as tiny

from mahtrt.errors import ModelError
from mahtrt.runtime.decode import decode, decode_batches, needed_outputs, network_from_output
from mahtrt.spec import DecodeSpec, InputSpec, ModelSpec, OutputSpec


def test_output_frames() -> None:
    spec = ModelSpec(
        family="x",
        inputs=(InputSpec(size=(256, 512)),),
        outputs=(OutputSpec("landmarks", "landmarks", "heatmap"),),
        landmarks=("a",),
        decode=DecodeSpec(heatmap_size=(64, 128)),
    )
    point = np.array([[[10.0, 20.0]]])
    assert network_from_output(point, "network", spec).tolist() == [[[10, 20]]]
    assert network_from_output(point, "heatmap", spec).tolist() == [[[41.5, 81.5]]]
    assert network_from_output(point / 100, "normalized", spec) == pytest.approx(
        np.array([[[50.7, 50.7]]]), abs=1e-4
    )


def test_what_the_network_does_not_give_is_not_a_number() -> None:
    only = replace(tiny.SPEC, outputs=(OutputSpec("landmarks", "landmarks", "network"),))
    points = np.arange(12, dtype=np.float32).reshape(2, 6)
    found = decode({"landmarks": points}, only)
    np.testing.assert_array_equal(found.points_px, points.reshape(2, 3, 2))
    assert np.isnan(found.confidence).all()
    assert np.isnan(found.spread_px).all()
    assert found.spread_px.shape == (2, 3)


def test_batches_are_joined_without_their_filling() -> None:
    outputs = {"landmarks": np.zeros((2, 3, 2), "f"), "spread": np.full((2, 3), 4.0, "f")}
    spec = replace(
        tiny.SPEC,
        outputs=(
            OutputSpec("landmarks", "landmarks", "network"),
            OutputSpec("spread", "spread", "heatmap"),
        ),
    )
    found = decode_batches([outputs, outputs], 3, spec)
    (height, width), (rows, columns) = tiny.SIZE, tiny.CELLS
    cell_px = np.sqrt(width / columns * height / rows)
    assert found.points_px.shape == (3, 3, 2)
    np.testing.assert_allclose(found.spread_px, np.full((3, 3), 4 * cell_px), rtol=1e-6)


def test_landmarks_that_no_output_holds_are_refused() -> None:
    spec = replace(tiny.SPEC, outputs=(OutputSpec("heatmaps", "heatmaps", "heatmap"),))
    with pytest.raises(ModelError, match="decoding inside the graph"):
        needed_outputs(spec)
