"""A machine with a fake GPU: fake TensorRT engines that compute what ONNX Runtime computes."""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_cuda import FakeCuda
from fake_tensorrt import make_fake

from mahtrt.cuda import probe_cuda
from mahtrt.measure.timing import TimingOptions, Timings
from mahtrt.planning import workbench
from mahtrt.targets.tensorrt import build as builder
from mahtrt.targets.tensorrt import cuda_driver
from mahtrt.targets.tensorrt import profile as tensorrt_layers
from mahtrt.targets.tensorrt.child import Request, run_request

MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx_bindings"}
PRODUCTS = ("CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY")


class FakeGpu:
    """The package, the driver and the builder's process, all in this process.

    A float product takes 1 ms, by the profiler and by the clock, and nothing else takes any time.

    Attributes:
        built: The ONNX of each build, in order.
        int8_ms: What an INT8 product takes.
        breaks: Engines with INT8 products whose names begin so give NaN, as TensorRT has done.
        passed_ms: What all inferences took together.
    """

    def __init__(self, target: str, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.target, self.trt, self.cuda = target, make_fake(version), FakeCuda()
        self.built: list[Any] = []
        self.int8_ms, self.passed_ms = 0.5, 0.0
        self.breaks = "nothing"
        self._oracles: dict[str, Any] = {}
        self._found: dict[tuple[str, bytes], list[Any]] = {}
        self.trt.state.on_execute = self._execute
        self.trt.state.layer_ms = self._layer_ms
        monkeypatch.setitem(sys.modules, MODULES[target], self.trt)
        monkeypatch.setattr(cuda_driver, "load_library", lambda name: self.cuda)
        for module in (builder, tensorrt_layers):
            monkeypatch.setattr(module, "probe_cuda", lambda: probe_cuda(lambda name: self.cuda))
        monkeypatch.setattr(builder, "run_child", self._run_child)
        monkeypatch.setattr(workbench, "interleave", self._interleave)

    def _run_child(
        self, request: Request, subject: str, title: str, tell: Callable[..., None], **_: Any
    ) -> dict[str, Any]:
        import onnx
        import onnxruntime

        result = run_request(self.trt, request, lambda event: tell(str(event["text"]), 0.0))
        if result["status"] != "built":
            return result
        model = onnx.load(request.onnx)
        self.built.append(model)
        record = json.loads(Path(request.plan).read_bytes().removeprefix(b"FAKEPLAN"))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._oracles[_key(record)] = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return {**result, "peak_memory_mib": 7}

    def _layer_ms(self, layer: dict[str, Any]) -> float:
        if layer["type"] not in PRODUCTS:
            return 0.0
        return self.int8_ms if _is_int8(layer) else 1.0

    def _execute(self, context: Any) -> bool:
        record = context.engine._record
        (name,) = (tensor["name"] for tensor in record["inputs"])
        outputs = [tensor["name"] for tensor in record["outputs"]]
        image = _array_at(context, name)
        known = (_key(record), image.tobytes())
        if known not in self._found:
            self._found[known] = self._oracles[known[0]].run(outputs, {name: image})
        broken = any(_is_int8(x) and x["name"].startswith(self.breaks) for x in record["layers"])
        for output, value in zip(outputs, self._found[known], strict=True):
            _array_at(context, output)[...] = np.nan if broken else value
        self.passed_ms += sum(map(self._layer_ms, record["layers"]))
        return True

    def _interleave(
        self, calls: Mapping[str, Callable[[], object]], options: TimingOptions
    ) -> dict[str, Timings]:
        """Really calls; the durations are those of the fake GPU."""
        samples: dict[str, list[float]] = {name: [] for name in calls}
        for _round in range(options.rounds):
            for name, call in calls.items():
                before = self.passed_ms
                call()
                samples[name].append(self.passed_ms - before)
        return {name: Timings(tuple(durations)) for name, durations in samples.items()}


def _key(record: dict[str, Any]) -> str:
    return json.dumps([(layer["name"], layer["inputs"]) for layer in record["layers"]])


def _is_int8(layer: dict[str, Any]) -> bool:
    return layer["type"] in PRODUCTS and bool(layer["inputs"][0].endswith("_dq"))


def _array_at(context: Any, name: str) -> np.ndarray:
    shape = context.get_tensor_shape(name)
    memory = (ctypes.c_float * int(np.prod(shape))).from_address(context.get_tensor_address(name))
    return np.ctypeslib.as_array(memory).reshape(shape)
