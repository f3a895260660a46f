"""The engine inspector's JSON, as TensorRT 10 and 11 word it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mahtrt.errors import SpecError
from mahtrt.targets.table import find_target
from mahtrt.targets.tensorrt.inspector import read_inspector


def tensor(datatype: str) -> dict[str, Any]:
    return {"Name": "t", "Dimensions": [1, 32, 8, 8], "Format/Datatype": datatype}


def convolution(datatype: str, **more: Any) -> dict[str, Any]:
    return {
        "Name": "conv",
        "LayerType": "CaskConvolution",
        "Inputs": [tensor(datatype)],
        "Outputs": [],
        **more,
    }


@pytest.mark.parametrize(
    ("datatype", "precision"),
    [
        ("Thirty-two wide channel vectorized row major Int8 format", "int8"),
        ("Int8", "int8"),
        ("Half", "fp16"),
        ("Channel major FP16 format where channel % 4 == 0", "fp16"),
        ("BFloat16", "bf16"),
        ("BF16", "bf16"),
        ("Float", "fp32"),
        ("Row major linear FP32", "fp32"),
        ("FP8", "fp8"),
        ("Int64", "int64"),
        ("N/A due to dynamic shapes", "unknown"),
    ],
)
def test_a_layer_has_the_precision_of_its_input(datatype: str, precision: str) -> None:
    found = read_inspector({"Layers": [convolution(datatype)]})
    assert found.by_precision == {precision: 1}


def test_a_target_reads_its_layers(tmp_path: Path) -> None:
    target, place = find_target("tensorrt"), tmp_path / "layers.json"
    place.write_text(json.dumps({"Layers": [convolution("Int8"), convolution("Half")]}))
    layers = target.engine_layers({"layers": place})
    assert layers is not None
    assert layers.int8_layers == 1
    assert target.engine_layers({"plan": tmp_path / "model.plan"}) is None


def test_weights_tell_before_inputs() -> None:
    layer = convolution("Float", Weights={"Type": "Int8", "Count": 9})
    assert read_inspector({"Layers": [layer]}).int8_layers == 1


@pytest.mark.parametrize(
    ("kind", "tactic", "counted"),
    [
        ("CaskConvolution", "", True),
        ("gemm", "", True),
        ("MatrixMultiply", "", True),
        ("Myelin", "sm89_xmma_gemm_i8i8", True),
        ("kgen", "__myl_Quant", False),
        ("Reformat", "", False),
        ("Reformat", "conv_reformat", False),
    ],
)
def test_only_products_are_int8_layers(kind: str, tactic: str, counted: bool) -> None:
    layer = convolution("Int8", LayerType=kind, TacticName=tactic)
    assert read_inspector({"Layers": [layer]}).int8_layers == int(counted)


@pytest.mark.parametrize("key", ["Bindings", "I/O Tensors"])
def test_tensors_are_found_under_either_name(key: str) -> None:
    assert read_inspector({"Layers": [], key: ["image", "landmarks"]}).tensors == (
        "image",
        "landmarks",
    )
    tables = [{"Name": "image", "Dimensions": [1]}]
    assert read_inspector({"Layers": [], key: tables}).tensors == ("image",)


def test_names_alone_say_nothing_of_precision() -> None:
    data = {"Layers": ["conv1 + relu", "conv2"], "Bindings": ["image"]}
    found = read_inspector(data)
    assert [layer.name for layer in found.layers] == ["conv1 + relu", "conv2"]
    assert not found.detailed
    assert found.to_dict()["int8_layers"] is None


@pytest.mark.parametrize("data", [{}, {"Layers": 3}, [], "text", None])
def test_another_document_is_refused(data: Any) -> None:
    with pytest.raises(SpecError, match="no list 'Layers'"):
        read_inspector(data)
