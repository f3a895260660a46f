"""What TensorRT-RTX, which builds without a GPU, makes of half-precision graphs."""

from __future__ import annotations

import onnx
import pytest
from test_half import strict_types

from mahtrt.calibration.plan import Plan
from mahtrt.calibration.qdq import quantize
from mahtrt.calibration.ranges import Ranges
from mahtrt.precision.half import to_half
from mahtrt.precision.types import Half

trt = pytest.importorskip(
    "tensorrt_rtx_bindings", reason="needs the extra tensorrt-rtx (tensorrt-rtx-cu13-bindings)"
)

TYPE_NAMES = {
    onnx.TensorProto.FLOAT: "FLOAT",
    onnx.TensorProto.FLOAT16: "HALF",
    onnx.TensorProto.BFLOAT16: "BF16",
    onnx.TensorProto.INT8: "INT8",
}


@pytest.mark.parametrize("int8", [False, True], ids=["float", "int8"])
@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_tensorrt_rtx_builds_it_with_the_types_of_the_graph(
    model: onnx.ModelProto, ranges: Ranges, plan: Plan, dtype: Half, int8: bool
) -> None:
    graph = to_half(model, dtype)
    if int8:
        graph = quantize(graph, ranges, plan)
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    parsed = parser.parse(graph.SerializeToString())
    assert parsed, [parser.get_error(i).desc() for i in range(parser.num_errors)]
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    outputs = [layer.get_output(i) for layer in layers for i in range(layer.num_outputs)]
    built = {tensor.name: tensor.dtype.name for tensor in outputs}
    wanted = {n: TYPE_NAMES[t] for n, t in strict_types(graph).items() if t in TYPE_NAMES}
    shared = built.keys() & wanted.keys()
    assert len(shared) > 60
    assert {n: built[n] for n in shared} == {n: wanted[n] for n in shared}
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    assert builder.build_serialized_network(network, config) is not None
