"""Fixtures around the tiny landmark network of tiny_graphs.py, its plan and its ranges."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from tiny_graphs import feeds, landmark_net, smooth_images, tiny_spec

from mahtrt.bundle.plan import Plan
from mahtrt.calibration.plan import default_plan
from mahtrt.calibration.qdq import tensors_to_calibrate
from mahtrt.calibration.ranges import Ranges, collect_ranges


@pytest.fixture(scope="session")
def model() -> onnx.ModelProto:
    return landmark_net()


@pytest.fixture(scope="session")
def model_path(model: onnx.ModelProto, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "model.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def plan(model: onnx.ModelProto) -> Plan:
    return default_plan(model, tiny_spec())


@pytest.fixture(scope="session")
def ranges(model: onnx.ModelProto, model_path: Path, plan: Plan) -> Ranges:
    tensors = tensors_to_calibrate(model, plan)
    return collect_ranges(model_path, tensors, feeds(smooth_images(6)), threads=1)


@pytest.fixture(scope="session")
def run_ort() -> Callable[..., list[NDArray[np.float32]]]:
    """Runs a model by the definition of its nodes, without ONNX Runtime's own rewrites."""

    def run(model: onnx.ModelProto, **feed: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(model.SerializeToString(), options)
        outputs: list[NDArray[np.float32]] = session.run(None, feed)
        return outputs

    return run


@pytest.fixture(scope="session")
def run_openvino() -> Callable[..., list[NDArray[np.float32]]]:
    """Runs a model as mahtrt gives it to OpenVINO."""
    from mahtrt.openvino_core import shared_core
    from mahtrt.targets.openvino.concats import quantize_before_concats
    from mahtrt.targets.openvino.decoding import keep_decoding_float32
    from mahtrt.targets.openvino.guard import keep_concats_float

    core = shared_core()

    def run(
        model: onnx.ModelProto,
        *,
        guard: bool = True,
        precision: str = "f32",
        **feed: NDArray[np.float32],
    ) -> list[NDArray[np.float32]]:
        graph = core.read_model(model.SerializeToString())
        if guard:
            quantize_before_concats(graph)
            keep_concats_float(graph)
            keep_decoding_float32(graph)
        config = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": precision}
        return [np.array(v) for v in core.compile_model(graph, "CPU", config)(feed).values()]

    return run
