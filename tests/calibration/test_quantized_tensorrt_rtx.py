"""What TensorRT-RTX, which builds without a GPU, says to the Q/DQ graph."""

from __future__ import annotations

import onnx
import pytest
from rtx_builder import rtx_builds, rtx_network
from tiny_graphs import feeds, smooth_images

from mahtrt.bundle.plan import Plan
from mahtrt.calibration.bias_correction import apply_correction, measure_bias
from mahtrt.calibration.qdq import quantize
from mahtrt.calibration.ranges import Ranges


@pytest.mark.parametrize("weight_bits", [7, 8])
def test_tensorrt_rtx_builds_the_int8_graph(
    model: onnx.ModelProto, ranges: Ranges, plan: Plan, weight_bits: int
) -> None:
    assert rtx_builds(*rtx_network(quantize(model, ranges, plan, weight_bits=weight_bits)))


def test_tensorrt_rtx_builds_what_was_corrected(
    model: onnx.ModelProto, ranges: Ranges, plan: Plan
) -> None:
    int8 = quantize(model, ranges, plan)
    measured = measure_bias(model, int8, feeds(smooth_images(2)), threads=1)
    assert rtx_builds(*rtx_network(apply_correction(int8, measured)))
