"""Layers of an engine held against its plan, with TensorRT-RTX's real builder and an inspector."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import onnx
import pytest
from rtx_builder import rtx_network

from mahtrt.bundle.plan import Block, Plan
from mahtrt.calibration.qdq import quantize, tensors_to_calibrate
from mahtrt.calibration.ranges import Ranges
from mahtrt.cuda.probe import probe_cuda
from mahtrt.errors import GateError
from mahtrt.graph.describe import describe_graph
from mahtrt.precision.half import to_half
from mahtrt.precision.layer_check import check_layers
from mahtrt.precision.types import Half
from mahtrt.targets.layers import EngineLayers
from mahtrt.targets.table import find_target
from mahtrt.targets.target import EngineOptions
from mahtrt.targets.tensorrt.inspector import read_inspector
from mahtrt.targets.tensorrt.network import network_layers, product_types
from mahtrt.targets.tensorrt.options import TensorRtOptions


@pytest.fixture(scope="module")
def mixed(plan: Plan) -> Plan:
    """The rules' plan with its first block in FP32, which leaves all three precisions."""
    first, *rest = plan.blocks
    assert first.precision == "float"
    whole = (*first.nodes, *first.float_nodes)
    kept = dataclasses.replace(first, precision="fp32", nodes=whole, float_nodes={})
    made = Plan((kept, *rest))
    assert {block.precision for block in made.blocks} == {"fp32", "float", "int8"}
    return made


def three_precisions(model: onnx.ModelProto, ranges: Ranges, plan: Plan, half: Half) -> Any:
    assert set(tensors_to_calibrate(model, plan)) <= set(ranges.tensors)
    return quantize(to_half(model, half, plan.fp32_nodes), ranges, plan)


def with_precision(plan: Plan, name: str, precision: Any) -> Plan:
    return Plan(
        tuple(
            dataclasses.replace(block, precision=precision) if block.name == name else block
            for block in plan.blocks
        )
    )


@pytest.mark.parametrize("half", ["fp16", "bf16"])
def test_the_network_that_tensorrt_rtx_parsed_is_that_of_the_plan(
    model: onnx.ModelProto, ranges: Ranges, mixed: Plan, half: Half
) -> None:
    graph = three_precisions(model, ranges, mixed, half)
    _, network = rtx_network(graph)
    found, described = product_types(network), describe_graph(graph)
    assert set(found.values()) == {"fp32", half, "int8"}
    products = {name for block in mixed.blocks for name in (*block.nodes, *block.float_nodes)}
    assert set(found) == products  # no product escapes
    layers = network_layers(found)
    check_layers(described, mixed, layers, "rtx")
    # And each block is looked at: none may be in another precision than it is.
    for block in mixed.blocks:
        for other in {"int8", "fp32", "float"} - {block.precision}:
            changed = with_precision(mixed, block.name, other)
            if other == "float" and block.precision == "fp32":
                continue  # what a plan leaves open may be FP32, for other reasons
            if other == "fp32" and all(found[node] == "fp32" for node in block.nodes):
                continue
            with pytest.raises(GateError, match=f"in 1 blocks: {block.name} ") as caught:
                check_layers(described, changed, layers, "rtx")
            assert caught.value.exit_code == 3


@pytest.mark.slow
@pytest.mark.skipif(bool(probe_cuda().devices), reason="a GPU is here")
@pytest.mark.parametrize("half", ["fp16", "bf16"])
def test_it_builds_for_three_gpus_and_the_build_tells_its_network(
    model: onnx.ModelProto, ranges: Ranges, mixed: Plan, half: Half, tmp_path: Path
) -> None:
    pytest.importorskip("tensorrt_rtx_bindings", reason="needs the extra tensorrt-rtx")
    graph, place = three_precisions(model, ranges, mixed, half), tmp_path / "model.onnx"
    onnx.save(graph, place)
    for capability in ("SM86", "SM89", "SM120"):
        own = TensorRtOptions(compute_capabilities=(capability,))
        options = EngineOptions(cache=False, target_options=(own,))
        made = find_target("tensorrt-rtx").build(place, "int8", tmp_path / capability, options)
        assert made.device.capabilities == (capability,)
        assert made.network is not None
        check_layers(describe_graph(graph), mixed, made.network, capability)
        lowered = with_precision(mixed, mixed.blocks[0].name, "int8")
        with pytest.raises(GateError, match=f"{capability}: got other precisions"):
            check_layers(describe_graph(graph), lowered, made.network, capability)


def layer(name: str, datatype: str, **more: Any) -> dict[str, Any]:
    told = {"Name": "t", "Format/Datatype": datatype}
    table = {"Name": "kernel", "LayerType": "CaskConvolution", "Inputs": [told], "Outputs": []}
    return {**table, "Metadata": f"[ONNX Layer: {name}]", **more}


def inspected(*layers: dict[str, Any]) -> EngineLayers:
    return read_inspector({"Layers": list(layers)})


def test_what_the_inspector_shows_is_held_against_the_plan(
    model: onnx.ModelProto, ranges: Ranges, mixed: Plan
) -> None:
    graph = describe_graph(three_precisions(model, ranges, mixed, "fp16"))

    def one(precision: str) -> Block:
        return next(b for b in mixed.blocks if b.precision == precision and b.nodes)

    kept, int8 = one("fp32").nodes[0], one("int8").nodes[0]

    def check(*layers: dict[str, Any]) -> None:
        check_layers(graph, mixed, inspected(*layers), "engine")

    check(layer(kept, "Float"), layer(int8, "Int8"))
    check(layer(int8, "Half", Weights={"Type": "Int8", "Count": 9}))
    # One kernel of two precisions, a conversion beside a product, and what tells no type.
    both = f"[ONNX Layer: {kept}]\x1e[ONNX Layer: {int8}]"
    check(
        layer("", "Half", Metadata=both),
        layer(kept, "Half", LayerType="Reformat"),
        layer(kept, "N/A due to dynamic shapes"),
        layer("nobody", "Half"),
    )
    for wrong in (layer(kept, "Half"), layer(kept, "Float", Weights={"Type": "Half"})):
        with pytest.raises(GateError, match=rf"{kept} in fp16 instead of fp32"):
            check(layer(int8, "Int8"), wrong)
    with pytest.raises(GateError, match=rf"{int8} in fp16 instead of int8"):
        check(layer(int8, "Half"))
    # Without metadata the name of a fused layer is made of its nodes.
    with pytest.raises(GateError, match=rf"{kept} in bf16 instead of fp32"):
        check(layer("", "BFloat16", Metadata="", Name=f"{kept} + act"))
