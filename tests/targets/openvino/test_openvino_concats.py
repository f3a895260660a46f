"""Pairs of Q/DQ behind a Concat are moved before it, and change no number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from tiny_graphs import Builder, smooth_images

from mahtrt.bundle.plan import Block, Plan
from mahtrt.calibration.methods import METHODS
from mahtrt.calibration.qdq import quantize
from mahtrt.calibration.ranges import Ranges, TensorRange
from mahtrt.openvino_core import shared_core
from mahtrt.targets.openvino.concats import quantize_before_concats
from mahtrt.targets.openvino.run import read_model

Run = Callable[..., list[np.ndarray]]
RANGE = TensorRange(-8.0, 8.0, dict.fromkeys(METHODS, 8.0), dict.fromkeys(METHODS, 0.0), 1, 1)


def network(*, also: str = "", pooled: bool = False) -> onnx.ModelProto:
    """Two branches, joined, and INT8 convolutions of both; maybe what else reads them."""
    b = Builder()
    left = b.conv("image", "left", 3, 32)
    right = b.op("Relu", [b.conv("image", "right", 3, 32)], "positive")
    joined = b.op("Concat", [left, right], "joined", axis=1)
    if pooled:
        joined = b.op("MaxPool", [joined], "pooled", kernel_shape=[2, 2])
    same = b.constant("w", np.eye(64, dtype=np.float32).reshape(64, 64, 1, 1))
    half = b.constant("v", np.eye(32, 64, dtype=np.float32).reshape(32, 64, 1, 1))
    y = b.op("Conv", [joined, same], "copy", kernel_shape=[1, 1])
    z = b.op("Conv", [joined, half], "part", kernel_shape=[1, 1])
    outputs = {"y": y, "z": z}
    if also:
        outputs["u"] = b.op(also, [joined], "also")
    tensor = "pooled_out" if pooled else "joined_out"
    plan = Plan((Block("all", "int8", "", 1.0, ("copy", "part")),))
    return quantize(b.model(outputs), Ranges({tensor: RANGE}, 1, "", 1), plan, weight_bits=7)


def moved(model: onnx.ModelProto) -> tuple[int, Any]:
    graph = shared_core().read_model(model.SerializeToString())
    return quantize_before_concats(graph), graph


def concats_of(graph: Any) -> list[Any]:
    """The Concats of a graph that join numbers, not shapes."""
    return [
        op
        for op in graph.get_ordered_ops()
        if op.get_type_name() == "Concat" and op.get_output_element_type(0).is_real()
    ]


def readers(op: Any) -> Counter[str]:
    ports = op.output(0).get_target_inputs()
    return Counter(port.get_node().get_type_name() for port in ports)


def test_each_branch_is_quantised_with_the_scale_of_both() -> None:
    count, graph = moved(network())
    concats = concats_of(graph)
    assert (count, len(concats)) == (1, 1)
    assert readers(concats[0]) == {"Convolution": 2}
    parts = [concats[0].input_value(slot).get_node() for slot in (0, 1)]
    assert {op.get_type_name() for op in parts} == {"FakeQuantize"}
    limits = [
        [float(op.input_value(k).get_node().get_data()) for k in (1, 2, 3, 4)] for op in parts
    ]
    assert limits[0] == limits[1]
    step = 8.0 / 127
    np.testing.assert_allclose(limits[0][2:], [-128 * step, 127 * step], rtol=1e-6)


def test_the_numbers_are_those_of_the_graph(run_ort: Run, run_openvino: Run) -> None:
    model, image = network(), smooth_images(1)[0][None]
    pairs = zip(run_openvino(model, image=image), run_ort(model, image=image), strict=True)
    step = 8.0 / 127
    for ours, theirs in pairs:
        assert np.abs(ours - theirs).max() <= step * 1.01  # a value at a border may go either way
        assert np.abs(ours - theirs).mean() < step / 100


def test_who_reads_the_concat_in_floating_point_still_does() -> None:
    count, graph = moved(network(also="Relu"))
    concats = concats_of(graph)
    assert (count, len(concats)) == (1, 2)
    assert sorted(kind for op in concats for kind in readers(op)) == ["Convolution", "Relu"]


def test_a_pair_that_is_not_right_behind_stays(run_openvino: Run, run_ort: Run) -> None:
    model = network(pooled=True)
    assert moved(model)[0] == 0
    image = smooth_images(1)[0][None]
    pairs = zip(run_openvino(model, image=image), run_ort(model, image=image), strict=True)
    for ours, theirs in pairs:
        assert np.abs(ours - theirs).max() <= 8.0 / 127 * 1.01


def test_every_engine_goes_through_it(tmp_path: Path) -> None:
    onnx.save(network(), tmp_path / "net.onnx")
    graph = read_model(tmp_path / "net.onnx")
    kinds = Counter(op.get_type_name() for op in graph.get_ordered_ops())
    assert kinds["FakeQuantize"] == 2
    assert kinds["Maximum"] == 0  # no guard is needed
