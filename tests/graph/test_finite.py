from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tiny_graphs import Builder, feeds, smooth_images, tiny_spec

from mahtrt.bundle.origin import SourceRecord
from mahtrt.bundle.plan import Plan
from mahtrt.calibration.qdq import quantize
from mahtrt.calibration.ranges import Ranges
from mahtrt.errors import DataError, GateError, ModelError
from mahtrt.graph.finite import UnfitTensor, check_finite
from mahtrt.graph.graph_file import GraphFile
from mahtrt.precision.half import check_half, to_half

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
        assert check_finite(graph, feeds(images), threads=1) == []


def test_the_largest_magnitude_of_all_images_counts() -> None:
    half, quiet, loud = to_half(growing(60000.0), "fp16"), ONES[0], ONES[0] * 100
    found = check_finite(half, feeds([quiet, loud]), threads=1)
    assert found
    assert check_finite(half, feeds([loud, quiet]), threads=1) == found


def test_an_overflow_is_found_though_the_runtime_hides_it() -> None:
    model = growing(60000.0)
    loud = [image * 100 for image in ONES]
    assert check_finite(model, feeds(loud), threads=1) == []
    found = check_finite(to_half(model, "fp16"), feeds(loud), threads=1)
    assert [f.node for f in found] == ["grow", "relu"]
    assert {f.what for f in found} <= {"overflow", "infinite"}
    assert all(f.largest > 65504 for f in found)
    assert check_finite(to_half(model, "fp16"), feeds(ONES), threads=1) == []


def test_nan_and_infinity_are_told_apart() -> None:
    b = Builder()
    zero = b.constant("zero", np.array(0, np.float32))
    x = b.op("Div", ["image", zero], "infinite")
    found = check_finite(b.model({"y": b.op("Mul", [x, zero], "nan")}), feeds(ONES), threads=1)
    assert found[0] == UnfitTensor("infinite", "infinite_out", "infinite", float("inf"))
    assert [(f.node, f.what) for f in found] == [
        ("infinite", "infinite"),
        ("nan", "nan"),
        ("output_y", "nan"),
    ]


def test_one_bad_image_is_enough() -> None:
    bad = ONES[0].copy()
    bad[1, 2, 3] = np.nan
    found = check_finite(growing(2.0), feeds([ONES[0], bad, ONES[0]]), threads=1)
    assert [f.what for f in found] == ["nan"] * 4


def test_quantised_graphs_are_looked_at_too(
    model: onnx.ModelProto, ranges: Ranges, plan: Plan
) -> None:
    int8 = quantize(to_half(model, "fp16"), ranges, plan)
    assert check_finite(int8, feeds(smooth_images(1)), threads=1) == []
    pair = next(n for n in int8.graph.node if n.op_type == "DequantizeLinear")
    scale = next(t for t in int8.graph.initializer if t.name == pair.input[1])
    scale.CopyFrom(numpy_helper.from_array(np.array(np.inf, np.float16), scale.name))
    found = {finding.tensor for finding in check_finite(int8, feeds(smooth_images(1)), threads=1)}
    assert pair.output[0] in found
    assert not any(tensor.endswith("_int8") for tensor in found)


def test_what_cannot_be_looked_at_is_refused(model: onnx.ModelProto) -> None:
    with pytest.raises(DataError, match="got none"):
        check_finite(model, [])
    with pytest.raises(DataError, match="shape"):
        check_finite(model, feeds([np.zeros((3, 8, 8), np.float32)]))
    with pytest.raises(ModelError, match="ONNX Runtime runs"):
        check_finite(to_half(model, "bf16"), feeds(ONES))


def test_fp16_is_judged_with_what_a_plan_keeps_in_fp32(tmp_path: Path) -> None:
    graph = GraphFile(tmp_path, growing(60000.0), tiny_spec(), SourceRecord(), None, "", 1)
    loud = feeds([image * 100 for image in ONES])
    with pytest.raises(GateError, match="FP16: got 2 tensors beyond its range, first grow"):
        check_half(graph, loud, 1)
    check_half(graph, loud, 1, ("grow", "shrink"))
