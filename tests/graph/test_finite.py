from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from tiny_graphs import Builder, smooth_images

from mahtrt.calibration.plan import Plan
from mahtrt.calibration.qdq import quantize
from mahtrt.calibration.ranges import Ranges
from mahtrt.errors import DataError, ModelError
from mahtrt.graph.finite import Finding, check_finite, measure_peaks
from mahtrt.precision.half import to_half

ONES = [np.ones((3, 32, 32), np.float32)]


def growing(factor: float) -> onnx.ModelProto:
    """Two convolutions by a number: the first makes it large, the second small again."""
    b = Builder()
    eye = np.eye(3, dtype=np.float32)[:, :, None, None]
    x = b.op("Conv", ["image", b.constant("up", eye * np.float32(factor))], "grow")
    x = b.op("Relu", [x], "relu")
    x = b.op("Conv", [x, b.constant("down", eye * np.float32(1e-3))], "shrink")
    return b.model({"y": x})


def test_a_healthy_network_has_no_findings(model: onnx.ModelProto) -> None:
    images = smooth_images(2)
    for graph in (model, to_half(model, "fp16")):
        assert check_finite(graph, images, threads=1) == []
        floats = [n.output[0] for n in graph.graph.node]
        assert [p.tensor for p in measure_peaks(graph, images, threads=1)] == floats


def test_peaks_are_the_largest_magnitudes_of_all_images(model_path: Path) -> None:
    first, second = np.full((3, 32, 32), 0.5, np.float32), np.full((3, 32, 32), -4.0, np.float32)
    b = Builder()
    two = b.constant("two", np.float32(2))
    graph = b.model({"y": b.op("Tanh", [b.op("Mul", ["image", two], "double")], "tanh")})
    calls: list[tuple[int, int]] = []
    peaks = measure_peaks(graph, [first, second], threads=1, progress=lambda *a: calls.append(a))
    assert [(p.node, p.largest) for p in peaks[:1]] == [("double", 8.0)]
    assert peaks[1].largest == pytest.approx(np.tanh(8.0), abs=1e-6)
    assert peaks[0].headroom == pytest.approx(np.finfo(np.float32).max / 8)
    assert calls == [(1, 2), (2, 2)]
    assert len(measure_peaks(model_path, smooth_images(1), threads=1)) > 50


def test_an_overflow_is_found_though_the_runtime_hides_it() -> None:
    model = growing(60000.0)
    loud = [image * 100 for image in ONES]
    assert check_finite(model, loud, threads=1) == []
    found = check_finite(to_half(model, "fp16"), loud, threads=1)
    assert [f.node for f in found] == ["grow", "relu"]
    assert {f.what for f in found} <= {"overflow", "infinite"}
    assert all(f.largest > 65504 for f in found)
    assert check_finite(to_half(model, "fp16"), ONES, threads=1) == []


def test_nan_and_infinity_are_told_apart() -> None:
    b = Builder()
    zero = b.constant("zero", np.float32(0))
    x = b.op("Div", ["image", zero], "infinite")
    found = check_finite(b.model({"y": b.op("Mul", [x, zero], "nan")}), ONES, threads=1)
    assert found[0] == Finding("infinite", "infinite_out", "infinite", float("inf"))
    assert [(f.node, f.what) for f in found] == [
        ("infinite", "infinite"),
        ("nan", "nan"),
        ("output_y", "nan"),
    ]


def test_one_bad_image_is_enough() -> None:
    bad = ONES[0].copy()
    bad[1, 2, 3] = np.nan
    found = check_finite(growing(2.0), [ONES[0], bad, ONES[0]], threads=1)
    assert [f.what for f in found] == ["nan"] * 4


def test_quantised_graphs_are_looked_at_too(
    model: onnx.ModelProto, ranges: Ranges, plan: Plan
) -> None:
    int8 = quantize(to_half(model, "fp16"), ranges, plan)
    peaks = measure_peaks(int8, smooth_images(1), threads=1)
    assert any(p.tensor.endswith("_dq") for p in peaks)
    assert not any(p.tensor.endswith("_int8") for p in peaks)
    assert check_finite(int8, smooth_images(1), threads=1) == []


def test_what_cannot_be_looked_at_is_refused(model: onnx.ModelProto, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="got none"):
        check_finite(model, [])
    with pytest.raises(DataError, match="shape"):
        check_finite(model, [np.zeros((3, 8, 8), np.float32)])
    with pytest.raises(ModelError, match="ONNX Runtime runs"):
        check_finite(to_half(model, "bf16"), ONES)
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"broken\.onnx"):
        check_finite(path, ONES)
