"""Graphs that TensorRT refuses, given to TensorRT-RTX's real builder.

Each message names the node, the cause and what helps, and no file is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mahtrt.errors import BuildError, MahtrtError, ModelError, UsageError
from mahtrt.targets.table import find_target
from mahtrt.targets.target import EngineOptions
from mahtrt.targets.tensorrt.options import TensorRtOptions

pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX is not installed")

KERNEL = np.ones((4, 3, 1, 1), np.float32)
CONV = helper.make_node("Conv", ["read", "kernel"], ["map"], name="decoder/0/conv")


def quantized(scale: Any, zero: Any) -> onnx.ModelProto:
    """A convolution whose input is quantized."""
    nodes = [
        helper.make_node(
            "QuantizeLinear", ["image", "scale", "zero"], ["stored"], name="decoder/0/quantize"
        ),
        helper.make_node(
            "DequantizeLinear", ["stored", "scale", "zero"], ["read"], name="decoder/0/dequantize"
        ),
        CONV,
    ]
    return model(nodes, {"kernel": KERNEL, "scale": np.float32(scale), "zero": zero})


def model(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, Any],
    *,
    shape: Sequence[Any] = (1, 3, 8, 8),
) -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "graph",
        [value("image", TensorProto.FLOAT, shape)],
        [value("map", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("acme", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def quantized_bias(*zero: str) -> onnx.ModelProto:
    nodes = [
        helper.make_node(
            "DequantizeLinear", ["bias", "scale", *zero], ["real"], name="decoder/0/bias"
        ),
        helper.make_node("Conv", ["image", "kernel", "real"], ["map"], name="decoder/0/conv"),
    ]
    constants = {"bias": np.arange(4, dtype=np.int32), "scale": np.float32(0.1), "kernel": KERNEL}
    return model(nodes, {**constants, **{name: np.int32(0) for name in zero}})


def relu(**options: Any) -> onnx.ModelProto:
    return model([helper.make_node("Relu", ["image"], ["map"], name="stem/relu")], {}, **options)


def one(op_type: str, **options: Any) -> onnx.ModelProto:
    """A node behind another, so that its number is not 0."""
    nodes = [
        helper.make_node("Relu", ["image"], ["r"], name="stem/relu"),
        helper.make_node(op_type, ["r"], ["map"], **options),
    ]
    return model(nodes, {})


def mixed() -> onnx.ModelProto:
    cast = helper.make_node("Cast", ["image"], ["read"], to=TensorProto.FLOAT16, name="stem/cast")
    return model([cast, CONV], {"kernel": KERNEL})


REFUSED: dict[str, tuple[onnx.ModelProto, type[MahtrtError], tuple[str, ...]]] = {
    "asymmetric int8": (
        quantized(0.1, np.int8(5)),
        BuildError,
        ("node decoder/0/quantize (QuantizeLinear)", "zero point other than 0", "--int8"),
    ),
    "asymmetric uint8": (
        quantized(0.1, np.uint8(128)),
        BuildError,
        ("node decoder/0/quantize (QuantizeLinear)", "zero point other than 0"),
    ),
    "int32 bias": (
        quantized_bias(),
        BuildError,
        ("node decoder/0/bias (DequantizeLinear)", "a quantized bias", "in floating point"),
    ),
    "int32 bias with zero point": (
        quantized_bias("zero"),
        BuildError,
        ("node decoder/0/bias (DequantizeLinear)", "a quantized bias"),
    ),
    "custom operator": (
        one("MyOp", domain="acme", name="head/my_op"),
        BuildError,
        ("node head/my_op (MyOp)", "an operator that TensorRT does not know"),
    ),
    "custom operator without a name": (
        one("MyOp", domain="acme"),
        BuildError,
        ("node number 1 (MyOp), which makes map", "does not know"),
    ),
    "unsupported operator": (
        one("StringNormalizer", name="head/text"),
        BuildError,
        ("node head/text (StringNormalizer)", "does not take"),
    ),
    "mixed types": (
        mixed(),
        BuildError,
        ("node decoder/0/conv (Conv)", "inputs of different types", "Half", "a cast has to be"),
    ),
    "dynamic shapes": (
        relu(shape=("n", 3, 8, 8)),
        ModelError,
        ("got image (?, 3, 8, 8); expected static shapes", "mahtrt export"),
    ),
    "no images": (
        relu(shape=(0, 3, 8, 8)),
        ModelError,
        ("got image (0, 3, 8, 8)",),
    ),
    "unconnected": (
        model([helper.make_node("Relu", ["nothing"], ["map"], name="stem/relu")], {}),
        BuildError,
        ("node stem/relu (Relu)", "no node, weight or graph input gives"),
    ),
}


def refusal(path: Path, folder: Path, kind: type[MahtrtError]) -> str:
    """Build, see that it fails and leaves nothing, and return the message."""
    own = TensorRtOptions(compute_capabilities=("SM86",))
    options = EngineOptions(cache_dir=folder / "cache", target_options=(own,))
    out = folder / "out" / "engine"
    with pytest.raises(kind) as caught:
        find_target("tensorrt-rtx").build(path, "int8", out, options)
    assert type(caught.value) is kind
    assert caught.value.exit_code in (1, 3)
    assert not out.parent.exists()
    assert [place for place in (folder / "cache").rglob("*") if place.is_file()] == []
    message = str(caught.value)
    assert str(path) in message
    for noise in ("cudaError", "/_src/", "Assertion", ".cpp", "kENABLE"):
        assert noise not in message
    return message


@pytest.mark.parametrize("case", REFUSED)
def test_the_node_and_the_cause_are_named(case: str, tmp_path: Path) -> None:
    graph, kind, said = REFUSED[case]
    onnx.save(graph, tmp_path / "model.onnx")
    message = refusal(tmp_path / "model.onnx", tmp_path, kind)
    for words in said:
        assert words in message


def test_weights_that_are_not_there(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(
        model([helper.make_node("Conv", ["image", "kernel"], ["map"])], {"kernel": KERNEL}),
        path,
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    (tmp_path / "weights.bin").unlink()
    message = refusal(path, tmp_path, BuildError)
    assert "weights that cannot be read" in message
    assert "beside the ONNX" in message


def test_too_little_workspace_is_said(tmp_path: Path) -> None:
    onnx.save(relu(), tmp_path / "model.onnx")
    options = TensorRtOptions(workspace_mib=0)
    with pytest.raises(UsageError, match="--workspace-mib: got 0; expected at least 1"):
        find_target("tensorrt-rtx").build(
            tmp_path / "model.onnx", "fp32", tmp_path, EngineOptions(target_options=(options,))
        )
