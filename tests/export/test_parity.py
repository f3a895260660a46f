from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from networks import HEATMAPS, LANDMARKS, MAP, SIZE, Siamese, images, settle, spec_for
from rendering import text_of
from tiny_graphs import feeds
from torch import Tensor, nn

from mahtrt.errors import ModelError
from mahtrt.export.onnx import OnnxOptions, export_onnx
from mahtrt.export.parity import ParityError, compare, onnx_outputs, reference_outputs
from mahtrt.spec import OutputSpec
from mahtrt.verbs.export import parity_table

SPEC = spec_for(LANDMARKS, HEATMAPS)


def outputs(shift_px: float = 0.0, scale: float = 1.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    points = rng.random((4, 3, 2)).astype(np.float32)
    points[1, 2, 0] += np.float32(shift_px / SIZE[1])
    maps = rng.random((4, 3, 8, 8)).astype(np.float32) * np.float32(20 * scale)
    return {"points": points, "heatmaps": maps}


def test_normalized_landmarks_are_compared_in_pixels() -> None:
    table = compare(outputs(), outputs(shift_px=0.25), SPEC, runtime="test")
    points, heatmaps = table.rows
    assert points.unit == "px"
    assert points.max_abs == points.error == pytest.approx(0.25, abs=1e-4)
    assert points.mean_abs == pytest.approx(0.25 / 24, abs=1e-4)
    assert not points.passed
    assert heatmaps.passed
    assert not table.passed


@pytest.mark.parametrize(("shift", "passes"), [(0.009, True), (0.011, False)])
def test_a_hundredth_of_a_pixel_is_the_limit(shift: float, passes: bool) -> None:
    assert compare(outputs(), outputs(shift_px=shift), SPEC, runtime="t").passed is passes


@pytest.mark.parametrize(("scale", "passes"), [(1.0005, True), (1.01, False)])
def test_other_kinds_are_relative_to_their_magnitude(scale: float, passes: bool) -> None:
    table = compare(outputs(), outputs(scale=scale), SPEC, runtime="t")
    assert table.passed is passes
    assert table.rows[1].error == pytest.approx(scale - 1, rel=0.05)


def test_nan_never_passes() -> None:
    got = outputs()
    got["heatmaps"][0, 0, 0, 0] = np.nan
    table = compare(outputs(), got, SPEC, runtime="t")
    assert not table.passed
    assert "'heatmaps': got an error of nan" in str(ParityError("net", table))


def test_an_output_of_zeros_is_no_division() -> None:
    zeros = {name: np.zeros_like(array) for name, array in outputs().items()}
    assert compare(zeros, zeros, SPEC, runtime="t").passed


def test_another_shape_is_refused() -> None:
    got = outputs()
    got["heatmaps"] = got["heatmaps"][:, :, :4]
    with pytest.raises(ModelError, match=r"'heatmaps' of the ONNX graph: got shape \(4, 3, 4, 8\)"):
        compare(outputs(), got, SPEC, runtime="t")


def test_table_as_json_and_text() -> None:
    table = compare(outputs(), outputs(shift_px=0.25), SPEC, runtime="somert 1.2")
    assert json.loads(json.dumps(table.to_dict()))["rows"][0]["output"] == "points"
    lines = text_of(parity_table(table)).splitlines()
    assert len(lines) == 4
    assert lines[1].startswith("points ")
    assert lines[1].endswith("FAIL")
    assert lines[2].endswith("pass")
    assert lines[3] == "4 image(s), somert 1.2 against PyTorch"


@pytest.mark.slow
def test_openvino_takes_over_where_onnxruntime_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, module = spec_for(MAP), settle(Siamese())
    out = tmp_path / "net.onnx"
    export_onnx(module, spec, OnnxOptions(out, feeds(images(1))))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    got, runtime = onnx_outputs(out.read_bytes(), spec, feeds(images(3)), 1)
    assert runtime.startswith("openvino ")
    assert compare(
        reference_outputs(module, spec, feeds(images(3)), 1), got, spec, runtime=runtime
    ).passed


def test_a_network_that_fails_is_told_with_its_message() -> None:
    spec = spec_for(MAP)
    with pytest.raises(ModelError, match=r"network test-net: got RuntimeError: .*channels"):
        reference_outputs(nn.Conv2d(1, 4, 3), spec, feeds(images(1)), 1)


def test_reference_is_in_eval_mode_and_the_mode_comes_back() -> None:
    module = nn.Sequential(nn.Dropout(0.9), nn.Conv2d(3, 2, 1)).train()
    module[1].eval()
    spec = spec_for(MAP)
    first = reference_outputs(module, spec, feeds(images(2)), 1)["features"]
    np.testing.assert_array_equal(
        first, reference_outputs(module, spec, feeds(images(2)), 1)["features"]
    )
    assert module.training
    assert module[0].training
    assert not module[1].training


def test_outputs_that_do_not_fit_the_spec_are_refused() -> None:
    class Points(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :2, :3, 0]

    spec = spec_for(OutputSpec("points", "landmarks", frame="network"))
    with pytest.raises(ModelError, match=r"output 'points': got shape \(1, 2, 3\)"):
        reference_outputs(Points(), spec, feeds(images(1)), 1)
