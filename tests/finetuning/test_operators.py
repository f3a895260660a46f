"""ONNX operators in PyTorch, each against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mahtrt.errors import ModelError
from mahtrt.finetuning.operators import OPERATORS
from mahtrt.finetuning.torch_graph import TorchGraph, joined
from mahtrt.graph.index import GraphIndex

IMAGE = (1, 4, 6, 8)
_RNG = np.random.default_rng(3)


def _numbers(*shape: int) -> NDArray[np.float32]:
    return _RNG.normal(size=shape).astype(np.float32)


def _ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


# Operator, constants after the image, attributes.
CASES: list[tuple[str, list[Any], dict[str, Any]]] = [
    *((name, [], {}) for name in ("Abs", "Ceil", "Cos", "Erf", "Exp", "Floor", "HardSwish")),
    *((name, [], {}) for name in ("Identity", "Mish", "Neg", "Reciprocal", "Relu", "Round")),
    *((name, [], {}) for name in ("Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Tanh")),
    *((name, [_numbers(1, 4, 1, 8)], {}) for name in ("Add", "Sub", "Mul", "Div", "Max", "Min")),
    ("MatMul", [_numbers(8, 3)], {}),
    ("Pow", [np.float32(2)], {}),
    ("PRelu", [_numbers(4, 1, 1)], {}),
    ("Clip", [np.float32(-0.5), np.float32(0.5)], {}),
    ("Elu", [], {"alpha": 0.7}),
    ("LeakyRelu", [], {"alpha": 0.2}),
    ("HardSigmoid", [], {"alpha": 0.2, "beta": 0.4}),
    ("Gelu", [], {"approximate": "none"}),
    ("Gelu", [], {"approximate": "tanh"}),
    ("Softmax", [], {"axis": 1}),
    ("LogSoftmax", [], {"axis": -1}),
    ("ReduceSum", [_ints(2, 3)], {"keepdims": 0}),
    ("ReduceSum", [], {}),
    ("ReduceSum", [], {"noop_with_empty_axes": 1}),
    ("ReduceMean", [_ints(-1)], {"keepdims": 1}),
    ("ReduceMax", [_ints(1)], {"keepdims": 0}),
    ("ReduceMin", [_ints(0, 2)], {}),
    ("ReduceProd", [_ints(2, 3)], {"keepdims": 0}),
    ("ReduceL2", [_ints(3)], {}),
    ("Cast", [], {"to": TensorProto.INT64}),
    ("Concat", [_numbers(1, 2, 6, 8)], {"axis": 1}),
    ("Expand", [_ints(2, 1, 1, 1)], {}),
    ("Flatten", [], {"axis": 2}),
    ("Gather", [_ints(2, -1)], {"axis": 1}),
    ("Gather", [np.array(1, np.int64)], {"axis": 3}),
    ("Pad", [_ints(0, 0, 1, 2, 0, 0, 0, 3)], {}),
    ("Pad", [_ints(0, 0, 1, 2, 0, 0, 0, 3)], {"mode": "reflect"}),
    ("Reshape", [_ints(0, -1, 8)], {}),
    ("Slice", [_ints(1, 0), _ints(2**62, 7), _ints(2, 3), _ints(1, 2)], {}),
    ("Slice", [_ints(-1), _ints(-(2**62)), _ints(3), _ints(-1)], {}),
    ("Squeeze", [_ints(0)], {}),
    ("Tile", [_ints(1, 2, 1, 1)], {}),
    ("Transpose", [], {"perm": [0, 2, 3, 1]}),
    ("Unsqueeze", [_ints(0, 5)], {}),
    ("DepthToSpace", [], {"blocksize": 2}),
    ("DepthToSpace", [], {"blocksize": 2, "mode": "CRD"}),
    ("Conv", [_numbers(6, 4, 3, 3), _numbers(6)], {"pads": [1, 1, 1, 1], "strides": [2, 1]}),
    ("Conv", [_numbers(4, 1, 3, 3)], {"group": 4, "pads": [0, 1, 2, 1], "dilations": [2, 1]}),
    ("ConvTranspose", [_numbers(4, 3, 2, 2), _numbers(3)], {"strides": [2, 2]}),
    ("MaxPool", [], {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 0]}),
    ("MaxPool", [], {"kernel_shape": [2, 2], "pads": [0, 1, 0, 0]}),
    ("AveragePool", [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    ("AveragePool", [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    ("GlobalAveragePool", [], {}),
    ("GlobalMaxPool", [], {}),
    ("InstanceNormalization", [_numbers(4), _numbers(4)], {"epsilon": 1e-3}),
    ("LayerNormalization", [_numbers(8), _numbers(8)], {"epsilon": 1e-3}),
    (
        "BatchNormalization",
        [_numbers(4), _numbers(4), _numbers(4), np.abs(_numbers(4)) + 0.1],
        {},
    ),
    ("Resize", [None, np.array([1, 1, 2, 2], "f")], {"mode": "linear"}),
    ("Resize", [None, None, _ints(1, 4, 9, 5)], {"mode": "linear"}),
    (
        "Resize",
        [None, None, _ints(1, 4, 9, 5)],
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    ),
    ("Resize", [None, np.array([1, 1, 2, 3], "f")], {"mode": "cubic", "cubic_coeff_a": -0.75}),
    (
        "Resize",
        [None, np.array([1, 1, 2, 2], "f")],
        {
            "mode": "nearest",
            "coordinate_transformation_mode": "asymmetric",
            "nearest_mode": "floor",
        },
    ),
]


def _model(op: str, constants: list[Any], attributes: dict[str, Any]) -> onnx.ModelProto:
    names = ["" if value is None else f"c{i}" for i, value in enumerate(constants)]
    tensors = [
        numpy_helper.from_array(np.asarray(v), n)
        for n, v in zip(names, constants, strict=True)
        if v is not None
    ]
    node = helper.make_node(op, ["x", *names], ["y"], **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, IMAGE)],
        [helper.make_empty_tensor_value_info("y")],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model)


@pytest.mark.parametrize(
    ("op", "constants", "attributes"), CASES, ids=[f"{i}-{c[0]}" for i, c in enumerate(CASES)]
)
def test_an_operator_gives_what_onnx_runtime_gives(
    op: str, constants: list[Any], attributes: dict[str, Any]
) -> None:
    model, image = _model(op, constants, attributes), _numbers(*IMAGE)
    (wanted,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": image})
    found = TorchGraph(GraphIndex(model), ["y"])({"x": torch.from_numpy(image)})["y"]
    assert tuple(found.shape) == wanted.shape
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-4)


def test_every_operator_but_those_of_whole_networks_is_tried() -> None:
    of_networks = {
        # logic and shapes of decoding, and Q/DQ: tests/families and test_student.py
        *("And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or"),
        *("IsNaN", "Where", "Shape", "Split", "Gemm", "Log", "Sqrt", "Sum"),
        *("QuantizeLinear", "DequantizeLinear"),
    }
    assert {case[0] for case in CASES} | of_networks == set(OPERATORS)


@pytest.mark.parametrize(
    ("op", "constants", "attributes", "named"),
    [
        ("LRN", [], {"size": 3}, "LRN"),
        ("Conv", [_numbers(4, 4, 3, 3)], {"auto_pad": "SAME_UPPER"}, "SAME_UPPER"),
        (
            "Resize",
            [None, np.array([1, 1, 2, 2], "f")],
            {"mode": "nearest", "nearest_mode": "ceil"},
            "nearest",
        ),
    ],
)
def test_what_cannot_be_trained_through_is_named(
    op: str, constants: list[Any], attributes: dict[str, Any], named: str
) -> None:
    model = _model(op, constants, attributes)
    with pytest.raises(ModelError, match=named):
        TorchGraph(GraphIndex(model), ["y"])({"x": torch.zeros(IMAGE)})


@pytest.mark.parametrize(("shape", "several"), [((0, 24, 8), True), ((4, 6, 8), True)])
def test_several_cases_go_through_a_reshape(shape: tuple[int, ...], several: bool) -> None:
    graph = TorchGraph(GraphIndex(_model("Reshape", [_ints(*shape)], {})), ["y"])
    feeds = [{"x": torch.from_numpy(_numbers(*IMAGE))} for _ in range(3)]
    alone = torch.cat([graph(feed)["y"] for feed in feeds])
    assert graph.takes_several(feeds) is several
    assert torch.equal(graph(joined(feeds))["y"], alone)


def test_a_graph_that_mixes_its_first_axis_takes_one_case_at_a_time() -> None:
    graph = TorchGraph(GraphIndex(_model("Transpose", [], {"perm": [1, 0, 2, 3]})), ["y"])
    feeds = [{"x": torch.from_numpy(_numbers(*IMAGE))} for _ in range(2)]
    assert not graph.takes_several(feeds)
