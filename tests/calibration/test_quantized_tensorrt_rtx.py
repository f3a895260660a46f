"""What TensorRT-RTX, which builds without a GPU, says to the Q/DQ graph."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from tiny_graphs import smooth_images

from mahtrt.calibration.bias_correction import correct_biases
from mahtrt.calibration.equalize import equalize, scalable_channels, smooth
from mahtrt.calibration.plan import Plan
from mahtrt.calibration.qdq import quantize
from mahtrt.calibration.ranges import Ranges
from mahtrt.graph.index import GraphIndex

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


def test_tensorrt_rtx_builds_what_was_scaled_and_corrected(
    model: onnx.ModelProto, ranges: Ranges, plan: Plan
) -> None:
    axes = scalable_channels(model, ranges.tensors)
    shapes = GraphIndex(model)
    largest = {t: np.exp2(np.arange((shapes.shape(t) or ())[a]) % 5.0) for t, a in axes.items()}
    scaled = equalize(smooth(model, largest), largest)
    assert axes
    int8 = quantize(scaled, ranges, plan)
    assert builds(correct_biases(scaled, int8, smooth_images(2), threads=1))
