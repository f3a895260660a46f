"""Nodes that a plan keeps in FP32 stay there where OpenVINO computes in BF16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mahtrt.errors import BuildError, SpecError
from mahtrt.precision.float_graph import float_graph
from mahtrt.targets.graph_kinds import FP32_NODES_KEY, Int8
from mahtrt.targets.openvino.build import build_engine
from mahtrt.targets.openvino.float32 import check_float32, wanted_float32
from mahtrt.targets.openvino.run import compile_model, has_native_bf16, read_model

native = pytest.mark.skipif(
    not has_native_bf16(), reason="this CPU multiplies no BF16, so OpenVINO computes in FP32"
)
KIND = Int8(None, 8)


def network() -> onnx.ModelProto:
    """conv - relu - conv - relu - conv - sum over rows."""
    rng = np.random.default_rng(0)
    nodes, constants, tensor = [], [], "x"
    for i, (channels, before) in enumerate([(16, 3), (16, 16), (16, 16)]):
        weight = rng.normal(0, 0.2, (channels, before, 3, 3)).astype(np.float32)
        bias = rng.normal(0, 0.2, channels).astype(np.float32)
        constants += [
            numpy_helper.from_array(a, f"{n}{i}") for n, a in (("w", weight), ("b", bias))
        ]
        nodes.append(
            helper.make_node(
                "Conv", [tensor, f"w{i}", f"b{i}"], [f"c{i}"], name=f"conv{i}", pads=[1] * 4
            )
        )
        tensor = f"c{i}"
        if i < 2:
            nodes.append(helper.make_node("Relu", [tensor], [f"r{i}"], name=f"relu{i}"))
            tensor = f"r{i}"
    nodes.append(helper.make_node("ReduceMean", [tensor, "axes"], ["out"], name="mean"))
    constants.append(numpy_helper.from_array(np.array([2, 3]), "axes"))
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 16, 1, 1])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def saved(folder: Path, *keep: str) -> Path:
    place = folder / "net.onnx"
    onnx.save(float_graph(network(), KIND, keep), place)
    return place


def in_bf16(onnx_path: Path) -> Any:
    return compile_model(onnx_path, inference_precision="bf16", threads=1)


def executed(compiled: Any) -> dict[str, str]:
    """Convolution to the precision that it is executed in."""
    found = {}
    for op in compiled.get_runtime_model().get_ordered_ops():
        info = op.get_rt_info()
        if info["layerType"].astype(str) == "Convolution":
            for name in info["originalLayersNames"].astype(str).split(","):
                if name.startswith("conv"):
                    found[name.partition("/")[0]] = info["runtimePrecision"].astype(str)
    return found


def test_the_graph_names_what_follows_on_it_too(tmp_path: Path) -> None:
    assert wanted_float32(read_model(saved(tmp_path, "conv1"))) == {"conv1", "relu1"}
    assert wanted_float32(read_model(saved(tmp_path))) == frozenset()


def test_metadata_that_are_no_names_are_refused(tmp_path: Path) -> None:
    model = network()
    model.metadata_props.add(key=FP32_NODES_KEY, value='{"conv1": 1}')
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(SpecError, match=r"mahtrt\.fp32_nodes: got dict; expected a list of names"):
        read_model(tmp_path / "net.onnx")


@native
def test_a_product_that_is_kept_is_executed_in_fp32(tmp_path: Path) -> None:
    before = executed(in_bf16(saved(tmp_path)))
    kept = executed(in_bf16(saved(tmp_path, "conv1")))
    assert before["conv0"] == before["conv1"] == "bf16"
    assert (kept["conv0"], kept["conv1"]) == ("bf16", "f32")


@native
def test_all_that_is_kept_gives_the_numbers_of_fp32(tmp_path: Path) -> None:
    image = np.random.default_rng(1).normal(size=(1, 3, 16, 16)).astype(np.float32)
    exact = compile_model(saved(tmp_path), inference_precision="f32", threads=1)(image)[0]
    rounded = in_bf16(saved(tmp_path))(image)[0]
    place = saved(tmp_path, "conv0", "conv1", "conv2")
    kept = in_bf16(place)(image)[0]
    assert np.abs(kept - exact).max() < 1e-5 < np.abs(rounded - exact).max()


@native
def test_an_engine_that_computes_it_in_less_is_refused(tmp_path: Path) -> None:
    compiled = in_bf16(saved(tmp_path))
    with pytest.raises(BuildError, match="computes conv1 in less than FP32"):
        check_float32(compiled, {"conv1", "relu1"}, "net.onnx")


def test_the_ir_of_an_engine_keeps_it_too(tmp_path: Path) -> None:
    artifact = build_engine(saved(tmp_path, "conv1"), "int8", tmp_path / "engine")
    graph = artifact.files["ir"].read_text()
    layers = graph.split("<layer ")
    (kept,) = (each for each in layers if 'name="conv1/WithoutBiases"' in each)
    (other,) = (each for each in layers if 'name="conv0/WithoutBiases"' in each)
    assert 'name="precise"' in kept
    assert 'name="precise"' not in other
