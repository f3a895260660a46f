"""What TensorRT-RTX, which builds without a GPU, makes of half-precision graphs."""

from __future__ import annotations

import onnx
import pytest
from rtx_builder import rtx_builds, rtx_network
from tiny_graphs import strict_types

from mahtrt.bundle.plan import Plan
from mahtrt.calibration.qdq import quantize
from mahtrt.calibration.ranges import Ranges
from mahtrt.precision.half import to_half
from mahtrt.precision.types import Half

TYPE_NAMES: dict[int, str] = {
    onnx.TensorProto.FLOAT: "FLOAT",
    onnx.TensorProto.FLOAT16: "HALF",
    onnx.TensorProto.BFLOAT16: "BF16",
    onnx.TensorProto.INT8: "INT8",
}


# The stem is no block of the rules' INT8 plan.
KEPT = "encoder.stem"


@pytest.mark.parametrize("keep", [(), (KEPT,)], ids=["", "fp32"])
@pytest.mark.parametrize("int8", [False, True], ids=["float", "int8"])
@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_tensorrt_rtx_builds_it_with_the_types_of_the_graph(
    model: onnx.ModelProto,
    ranges: Ranges,
    plan: Plan,
    dtype: Half,
    int8: bool,
    keep: tuple[str, ...],
) -> None:
    graph = to_half(model, dtype, keep)
    if int8:
        graph = quantize(graph, ranges, plan)
    (kept,) = (node.output[0] for node in graph.graph.node if node.name == KEPT)
    stem = TYPE_NAMES[strict_types(graph)[kept]]
    assert stem == ("FLOAT" if keep else {"fp16": "HALF", "bf16": "BF16"}[dtype])
    builder, network = rtx_network(graph)
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    outputs = [layer.get_output(i) for layer in layers for i in range(layer.num_outputs)]
    built = {tensor.name: tensor.dtype.name for tensor in outputs}
    wanted = {n: TYPE_NAMES[t] for n, t in strict_types(graph).items() if t in TYPE_NAMES}
    shared = built.keys() & wanted.keys()
    assert len(shared) > 60
    assert {n: built[n] for n in shared} == {n: wanted[n] for n in shared}
    assert rtx_builds(builder, network)
