"""Small graphs for pass tests, and running them before and after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[np.float32]


def make_graph(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, NDArray[np.generic]],
    *,
    shape: Sequence[int],
    outputs: Sequence[str] = ("out",),
    opset: int = 20,
) -> ir.Model:
    """A model with one input ``x`` of ``shape``; shapes inside are inferred."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    for output in proto.graph.output:
        output.type.tensor_type.elem_type = TensorProto.FLOAT
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto, strict_mode=True))


def run(model: ir.Model, image: Array) -> list[Array]:
    """The outputs of a model for its input ``x``."""
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return [np.asarray(out) for out in session.run(None, {"x": image})]


def apply(
    graph_pass: Callable[[ir.Model], int], model: ir.Model, *, tolerance: float = 1e-5
) -> int:
    """Run a pass; the outputs must stay what they were. Returns the pass's count."""
    declared = model.graph.inputs[0].shape
    assert declared is not None
    shape = list(declared.numpy())
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    before = run(model, image)
    changes = graph_pass(model)
    for old, new in zip(before, run(model, image), strict=True):
        np.testing.assert_allclose(new, old, atol=tolerance, rtol=tolerance)
    return changes


def op_counts(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph)


def random_array(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)
