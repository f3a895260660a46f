from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from graphs import apply, make_graph, op_counts
from onnx import helper

from mahtrt.export.passes.fuse_gelu import FuseGeluPass

CONSTANTS: dict[str, Any] = {
    "half": np.float32(0.5),
    "one": np.float32(1.0),
    "root2": np.float32(math.sqrt(2.0)),
    "inverse_root2": np.float32(math.sqrt(0.5)),
    "three": np.float32(3.0),
    "cubic": np.float32(0.044715),
    "tanh_scale": np.float32(math.sqrt(2.0 / math.pi)),
    "other": np.float32(1.5),
}

ERF = {
    "quotient": [helper.make_node("Div", ["x", "root2"], ["t"])],
    "product": [helper.make_node("Mul", ["inverse_root2", "x"], ["t"])],
}
TANH = [
    helper.make_node("Pow", ["x", "three"], ["cube"]),
    helper.make_node("Mul", ["cubic", "cube"], ["small"]),
    helper.make_node("Add", ["x", "small"], ["sum"]),
    helper.make_node("Mul", ["tanh_scale", "sum"], ["t"]),
]
HALVED = {
    "input": [("x", "half", "h"), ("h", "gate", "out")],
    "gate": [("gate", "half", "h"), ("x", "h", "out")],
    "product": [("x", "gate", "h"), ("half", "h", "out")],
}


def gelu(argument: list[onnx.NodeProto], function: str, place: str, one: str = "one") -> ir.Model:
    nodes = [
        *argument,
        helper.make_node(function, ["t"], ["e"]),
        helper.make_node("Add", [one, "e"], ["gate"]),
        *(helper.make_node("Mul", [a, b], [c]) for a, b, c in HALVED[place]),
    ]
    return make_graph(nodes, CONSTANTS, shape=(2, 3, 4))


@pytest.mark.parametrize("place", HALVED)
@pytest.mark.parametrize("argument", ERF)
def test_erf_formula(argument: str, place: str) -> None:
    model = gelu(ERF[argument], "Erf", place)
    assert apply(FuseGeluPass(), model) == 1
    assert op_counts(model) == {"Gelu": 1}


@pytest.mark.parametrize("place", HALVED)
def test_tanh_formula(place: str) -> None:
    model = gelu(TANH, "Tanh", place)
    assert apply(FuseGeluPass(), model) == 1
    (node,) = model.graph
    assert node.attributes["approximate"].as_string() == "tanh"


def test_another_formula_stays() -> None:
    model = gelu(ERF["quotient"], "Erf", "product", one="other")
    assert apply(FuseGeluPass(), model) == 0
    assert op_counts(model)["Erf"] == 1
