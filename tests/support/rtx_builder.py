"""TensorRT-RTX's real builder, in the tests' own process."""

from __future__ import annotations

from typing import Any

import onnx
import pytest


def rtx_network(model: onnx.ModelProto) -> tuple[Any, Any]:
    """A builder, and the network that it parsed; skips the test where the package is missing."""
    trt = pytest.importorskip("tensorrt_rtx_bindings", reason="needs the extra tensorrt-rtx")
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    parsed = parser.parse(model.SerializeToString())
    assert parsed, [parser.get_error(i).desc() for i in range(parser.num_errors)]
    return builder, network


def rtx_builds(builder: Any, network: Any) -> bool:
    """Whether an engine comes of a network."""
    import tensorrt_rtx_bindings as trt

    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    return builder.build_serialized_network(network, config) is not None
