"""What TensorRT-RTX, which builds without a GPU, says to the Q/DQ graph."""

from __future__ import annotations

import onnx
import pytest
from tiny_graphs import smooth_images

from mahtrt.calibration.bias_correction import apply_correction, measure_bias
from mahtrt.calibration.plan import Plan
from mahtrt.calibration.qdq import quantize
from mahtrt.calibration.ranges import Ranges

trt = pytest.importorskip(
    "tensorrt_rtx_bindings", reason="needs the extra tensorrt-rtx (tensorrt-rtx-cu13-bindings)"
)


def builds(int8: onnx.ModelProto) -> bool:
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    parsed = parser.parse(int8.SerializeToString())
    assert parsed, [parser.get_error(i).desc() for i in range(parser.num_errors)]
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    return builder.build_serialized_network(network, config) is not None


@pytest.mark.parametrize("weight_bits", [7, 8])
def test_tensorrt_rtx_builds_the_int8_graph(
    model: onnx.ModelProto, ranges: Ranges, plan: Plan, weight_bits: int
) -> None:
    assert builds(quantize(model, ranges, plan, weight_bits=weight_bits))


def test_tensorrt_rtx_builds_what_was_corrected(
    model: onnx.ModelProto, ranges: Ranges, plan: Plan
) -> None:
    int8 = quantize(model, ranges, plan)
    measured = measure_bias(model, int8, smooth_images(2), threads=1)
    assert builds(apply_correction(int8, measured))
