"""Heatmaps that are resized behind the last product are not rounded to BF16."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mahtrt.openvino_core import shared_core
from mahtrt.targets.openvino.interpolation import gather_last_interpolations
from mahtrt.targets.openvino.run import compile_graph, has_native_bf16, read_model

Array = NDArray[np.float32]
SIZE = (12, 10)
native = pytest.mark.skipif(
    not has_native_bf16(), reason="this CPU multiplies no BF16, so OpenVINO computes in FP32"
)


def network(
    sizes: tuple[int, int] = (24, 20),
    *,
    scales: tuple[float, float] | None = None,
    then: str = "Relu",
    **settings: Any,
) -> onnx.ModelProto:
    """conv - sigmoid - resize - what reads the heatmaps."""
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.normal(0, 1, (4, 3, 1, 1)).astype(np.float32),
        "v": rng.normal(0, 1, (2, 4, 1, 1)).astype(np.float32),
        "sizes": np.array([1, 4, *sizes]),
        "scales": np.array([1, 1, *(scales or (1, 1))], np.float32),
    }
    how = ["maps", "", "scales"] if scales else ["maps", "", "", "sizes"]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Sigmoid", ["c"], ["maps"]),
        helper.make_node("Resize", how, ["large"], name="large", **{"mode": "linear", **settings}),
        helper.make_node(then, ["large", *(["v"] if then == "Conv" else [])], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, *SIZE])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def kinds(model: Any) -> Counter[str]:
    return Counter(op.get_type_name() for op in model.get_ordered_ops())


def as_it_is(proto: onnx.ModelProto) -> Any:
    return shared_core().read_model(proto.SerializeToString())


def infer(model: Any, precision: str) -> Array:
    request = compile_graph(model, precision, 1).create_infer_request()
    request.infer([np.random.default_rng(1).normal(size=(1, 3, *SIZE)).astype(np.float32)])
    return np.array(request.get_output_tensor(0).data, np.float32)


@pytest.mark.parametrize(
    "proto",
    [
        network((24, 20)),
        network((24, 10)),  # rows alone
        network((12, 30)),  # columns alone
        network((7, 33)),
        network((3, 2)),  # fewer of them, without averaging
        network(scales=(2.0, 2.0)),
    ],
    ids=["double", "rows", "columns", "odd", "small", "scales"],
)
def test_the_numbers_are_those_of_the_interpolation(proto: onnx.ModelProto) -> None:
    ours = as_it_is(proto)
    assert gather_last_interpolations(ours) == 1
    assert "Interpolate" not in kinds(ours)
    # Maps in [0, 1], places to the rounding of float32: a step of 2**-24 at up to 12 cells, twice.
    difference = np.abs(infer(ours, "f32") - infer(as_it_is(proto), "f32")).max()
    assert difference <= 2 * 12 * 2**-23


@pytest.mark.parametrize(
    "proto",
    [
        network(then="Conv"),
        network(mode="nearest"),
        network(mode="cubic"),
        network(coordinate_transformation_mode="align_corners"),
        network((3, 2), antialias=1),
        network(scales=(2.05, 2.0)),  # 24 rows as well, from other places
    ],
    ids=["conv", "nearest", "cubic", "corners", "antialias", "scales"],
)
def test_what_stays_an_interpolation(proto: onnx.ModelProto) -> None:
    model = as_it_is(proto)
    assert gather_last_interpolations(model) == 0
    assert kinds(model)["Interpolate"] == 1


@native
def test_heatmaps_keep_more_than_eight_bits_beside_bf16(tmp_path: Path) -> None:
    onnx.save(network(), tmp_path / "net.onnx")
    kept = infer(read_model(tmp_path / "net.onnx"), "bf16")
    rounded = infer(as_it_is(network()), "bf16")

    def has_eight_bits(values: Array) -> bool:
        # Maps above 2**-8 in steps of at least 2**-16, in sixteenths of them.
        return bool(np.all(values * 2**20 % 1 == 0))

    assert has_eight_bits(rounded)  # else OpenVINO has changed, and this can go
    assert not has_eight_bits(kept)
