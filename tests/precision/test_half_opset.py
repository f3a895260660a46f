from __future__ import annotations

import numpy as np
import onnx
import pytest
from tiny_graphs import Builder, landmark_net

from mahtrt.errors import ModelError
from mahtrt.graph.index import opset_of
from mahtrt.precision.opset import BF16_OPSET, with_bf16_opset


def with_opset(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.opset_import[0].version = opset
    return copy


@pytest.mark.parametrize("opset", [20, 21])
def test_the_number_is_raised_and_nothing_else(opset: int) -> None:
    model = with_opset(landmark_net(), opset)
    newer = with_bf16_opset(model)
    assert (opset_of(newer), opset_of(model)) == (BF16_OPSET, opset)
    onnx.checker.check_model(newer, full_check=True)
    assert newer.graph == model.graph
    assert with_bf16_opset(newer) is newer


def test_an_opset_too_old_is_refused() -> None:
    with pytest.raises(ModelError, match="got opset 17; expected opset 22 for BF16"):
        with_bf16_opset(with_opset(landmark_net(), 17))


def test_an_operator_that_changed_is_named() -> None:
    b = Builder()
    x = b.conv("image", "first", 3, 32)
    parts = [b.constant(name, np.ones(32, np.float32)) for name in ("scale", "bias")]
    x = b.op("GroupNormalization", [x, *parts], "norm", num_groups=32)
    graph = onnx.helper.make_graph(
        b.nodes,
        "norm",
        [onnx.helper.make_tensor_value_info("image", 1, [1, 3, 32, 32])],
        [onnx.helper.make_tensor_value_info(x, 1, [1, 32, 32, 32])],
        b.initializers,
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)])
    with pytest.raises(ModelError, match="GroupNormalization 'norm'"):
        with_bf16_opset(model)
    assert with_bf16_opset(with_opset(model, 21)).opset_import[0].version == BF16_OPSET
