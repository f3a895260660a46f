from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from tiny_graphs import Builder, smooth_images

from mahtrt.bundle.plan import Block, Plan
from mahtrt.calibration.methods import METHODS
from mahtrt.calibration.qdq import quantize
from mahtrt.calibration.ranges import Ranges, TensorRange
from mahtrt.openvino_core import shared_core
from mahtrt.targets.openvino.guard import keep_concats_float
from mahtrt.targets.openvino.ir import read_ir, write_ir
from mahtrt.targets.openvino.run import config_for, read_model

Run = Callable[..., list[np.ndarray]]


@pytest.fixture(scope="module")
def concat_model() -> onnx.ModelProto:
    """Two branches, joined, and an INT8 convolution that hands on what is positive."""
    b = Builder()
    left = b.conv("image", "left", 3, 32)
    right = b.conv("image", "right", 3, 32)
    joined = b.op("Concat", [left, right], "joined", axis=1)
    weight = b.constant("w", np.eye(64, dtype=np.float32).reshape(64, 64, 1, 1))
    kept = b.op("Relu", [joined], "kept")  # between, so that the pair stays behind the Concat
    y = b.op("Conv", [kept, weight], "copy", kernel_shape=[1, 1])
    floats = b.op("Concat", [left, right], "floats", axis=1)
    model = b.model({"y": y, "z": b.op("Relu", [floats], "relu")})
    one = TensorRange(-8.0, 8.0, dict.fromkeys(METHODS, 8.0), dict.fromkeys(METHODS, 0.0), 1, 1)
    plan = Plan((Block("all", "int8", "", 1.0, ("copy",)),))
    return quantize(model, Ranges({"kept_out": one}, 1, "", 1), plan, weight_bits=7)


def test_a_guarded_concat_is_computed_right(
    concat_model: onnx.ModelProto, run_ort: Run, run_openvino: Run
) -> None:
    image = smooth_images(1)[0][None]
    expected = run_ort(concat_model, image=image)[0]
    got = run_openvino(concat_model, image=image)[0]
    step = 8.0 / 127
    assert np.abs(got - expected).max() <= step * 1.01  # a value at a border may go either way
    assert np.abs(got - expected).mean() < step / 100


def test_the_ir_keeps_the_guard(
    concat_model: onnx.ModelProto, tmp_path: Path, run_openvino: Run
) -> None:
    onnx.save(concat_model, tmp_path / "net.onnx")
    places = write_ir(read_model(tmp_path / "net.onnx"), tmp_path)
    graph = read_ir(places["ir"], places["weights"])
    assert [op.get_type_name() for op in graph.get_ops()].count("Maximum") == 1
    image = smooth_images(1)[0][None]
    expected = run_openvino(concat_model, image=image)
    compiled = shared_core().compile_model(graph, "CPU", config_for("f32", None))
    for theirs, ours in zip(compiled([image]).values(), expected, strict=True):
        np.testing.assert_array_equal(theirs, ours)


def test_only_concats_that_are_quantised_get_a_guard(
    concat_model: onnx.ModelProto, model: onnx.ModelProto
) -> None:
    core = shared_core()
    graph = core.read_model(concat_model.SerializeToString())
    assert keep_concats_float(graph) == 1
    assert [op.get_type_name() for op in graph.get_ops()].count("Maximum") == 1
    assert keep_concats_float(core.read_model(model.SerializeToString())) == 0
