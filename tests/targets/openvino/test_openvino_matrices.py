"""Constants on the left of a product do not keep it in FP32 where OpenVINO computes in BF16."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mahtrt.targets.openvino.matrices import lower_constant_products
from mahtrt.targets.openvino.run import compile_graph, has_native_bf16, read_model

native = pytest.mark.skipif(
    not has_native_bf16(), reason="this CPU multiplies no BF16, so OpenVINO computes in FP32"
)
Array = NDArray[np.float32]
WHOLE = np.random.default_rng(0).integers(-8, 9, (2, 1, 8, 8))
EIGHTHS: Array = (WHOLE / 8).astype(np.float32)
THIRDS: Array = (WHOLE / 3).astype(np.float32)


def network(matrices: Array = EIGHTHS, *, last: bool = False) -> onnx.ModelProto:
    """conv - matrix - reshape - matrix - conv, the last one only where the matrices are not."""
    rng = np.random.default_rng(1)
    constants = {
        "w0": rng.normal(0, 0.2, (8, 3, 1, 1)).astype(np.float32),
        "w1": rng.normal(0, 0.2, (4, 8, 1, 1)).astype(np.float32),
        "rows": matrices[0],
        "columns": matrices[1][None],
        "flat": np.array([1, 64, 8]),
        "again": np.array([1, 8, 8, 8]),
    }
    nodes = [
        ("Conv", ["x", "w0"], "c0"),
        ("MatMul", ["rows", "c0"], "m0"),
        ("Reshape", ["m0", "again"], "r0"),
        ("MatMul", ["columns", "r0"], "m1"),
        ("Relu", ["m1"], "out") if last else ("Conv", ["m1", "w1"], "out"),
    ]
    made = [helper.make_node(op, reads, [out], name=out) for op, reads, out in nodes]
    graph = helper.make_graph(
        made,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 8 if last else 4, 8, 8])],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def read(folder: Path, proto: onnx.ModelProto) -> Any:
    onnx.save(proto, folder / "net.onnx")
    return read_model(folder / "net.onnx")


def types(model: Any) -> dict[str, str]:
    """Kind of operation, numbered -> the type of what it gives."""
    ops = [op for op in model.get_ordered_ops() if op.get_type_name() in ("MatMul", "Convert")]
    return {
        f"{op.get_type_name()} {i}": op.get_output_element_type(0).to_string()
        for i, op in enumerate(ops)
    }


def outputs(models: Sequence[Any], precision: str) -> list[Array]:
    x = np.random.default_rng(2).normal(size=(1, 3, 8, 8)).astype(np.float32)
    found = []
    for model in models:
        request = compile_graph(model, precision, 1).create_infer_request()
        request.infer([x])
        found.append(np.array(request.get_output_tensor(0).data, np.float32))
    return found


def test_a_chain_of_products_is_bf16_with_one_conversion_at_each_end(tmp_path: Path) -> None:
    model = read(tmp_path, network())
    assert lower_constant_products(model, frozenset()) == 2
    assert types(model) == {
        "Convert 0": "bf16",
        "MatMul 1": "bf16",
        "MatMul 2": "bf16",
        "Convert 3": "f32",
    }


@pytest.mark.parametrize(
    ("proto", "keep"),
    [
        (network(THIRDS), ()),  # BF16 would round the matrices
        (network(last=True), ()),  # no convolution follows: decoding
        (network(), ("m0", "m1")),  # the plan's
    ],
    ids=["inexact", "last", "kept"],
)
def test_what_stays_in_fp32(tmp_path: Path, proto: onnx.ModelProto, keep: tuple[str, ...]) -> None:
    model = read(tmp_path, proto)
    assert lower_constant_products(model, frozenset(keep)) == 0
    assert set(types(model).values()) == {"f32"}


def test_one_of_two_that_is_kept_gets_its_numbers_in_fp32(tmp_path: Path) -> None:
    model = read(tmp_path, network())
    assert lower_constant_products(model, frozenset({"m0"})) == 1
    assert types(model) == {
        "MatMul 0": "f32",
        "Convert 1": "bf16",
        "MatMul 2": "bf16",
        "Convert 3": "f32",
    }


def test_nothing_changes_where_openvino_computes_in_fp32(tmp_path: Path) -> None:
    model = read(tmp_path, network())
    compile_graph(model, "f32", 1)
    assert set(types(model).values()) == {"f32"}


def test_the_result_is_that_of_fp32_to_what_bf16_rounds(tmp_path: Path) -> None:
    lowered, plain = (read(tmp_path, network()) for _ in range(2))
    lower_constant_products(lowered, frozenset())
    ours, reference = outputs([lowered, plain], "f32")
    # Each value is rounded to eight bits three times, and sums of 8 and 8 of them are taken.
    scale = np.abs(reference).max()
    assert 0 < np.abs(ours - reference).max() < 3 * 2**-8 * scale


@native
def test_the_products_are_executed_in_bf16(tmp_path: Path) -> None:
    compiled = compile_graph(read(tmp_path, network()), "bf16", 1)
    executed = [
        op.get_rt_info()["runtimePrecision"].astype(str)
        for op in compiled.get_runtime_model().get_ordered_ops()
        if op.get_rt_info()["layerType"].astype(str) == "MatMul"
    ]
    assert executed == ["bf16", "bf16"]
