"""A machine with a fake GPU, on which time passes by a rule."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import onnx
import pytest
from fake_cuda import FakeCuda
from fake_driver import FakeDriver, FakeGpuModel
from fake_tensorrt import make_fake
from fake_trt_runtime import array_at, compute
from kernels_on_fake_gpu import teach

from mahtrt.cuda.bindings import open_device
from mahtrt.cuda.probe import probe_cuda
from mahtrt.measure.timing import TimingOptions, Timings
from mahtrt.planning import workbench
from mahtrt.targets.tensorrt import build as builder
from mahtrt.targets.tensorrt import profile as tensorrt_layers
from mahtrt.targets.tensorrt.child import Request, run_request

MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx_bindings"}
PRODUCTS = ("CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY")


class FakeGpu:
    """The package, the driver and the builder's process, all in this process.

    A float product takes 1 ms, by the profiler and by the clock, and nothing else takes any time.

    Attributes:
        int8_ms: What an INT8 product takes.
        breaks: Engines with INT8 products whose names begin so give NaN, as TensorRT has done.
        passed_ms: What all inferences took together.
    """

    def __init__(self, target: str, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.target, self.trt, probed = target, make_fake(version), FakeCuda()
        model = FakeGpuModel("NVIDIA RTX 4090", (8, 9), 128)
        self.trt.state.gpu = self.cuda = FakeDriver(gpus=[model])
        teach(self.cuda, "preprocess")
        self.int8_ms, self.passed_ms = 0.5, 0.0
        self.breaks = "nothing"
        self.trt.state.on_execute = self._execute
        self.trt.state.layer_ms = self._layer_ms
        monkeypatch.setitem(sys.modules, MODULES[target], self.trt)
        opened = partial(open_device, driver=self.cuda)
        monkeypatch.setattr("mahtrt.targets.tensorrt.run.open_device", opened)
        for module in (builder, tensorrt_layers):
            monkeypatch.setattr(module, "probe_cuda", lambda: probe_cuda(lambda name: probed))
        monkeypatch.setattr(builder, "run_child", self._run_child)
        monkeypatch.setattr(workbench, "interleave", self._interleave)

    @property
    def built(self) -> list[onnx.ModelProto]:
        """The ONNX of each build, in order."""
        return [onnx.load_from_string(model) for model in self.trt.state.models.values()]

    def _run_child(
        self, request: Request, subject: str, title: str, tell: Callable[..., None], **_: Any
    ) -> dict[str, Any]:
        result = run_request(self.trt, request, lambda event: tell(str(event["text"]), 0.0))
        return {**result, "peak_memory_mib": 7}

    def _layer_ms(self, layer: dict[str, Any]) -> float:
        if layer["type"] not in PRODUCTS:
            return 0.0
        return self.int8_ms if _is_int8(layer) else 1.0

    def _execute(self, context: Any) -> None:
        record = context.engine._record
        compute(context)
        if any(_is_int8(x) and x["name"].startswith(self.breaks) for x in record["layers"]):
            for output in record["outputs"]:
                array_at(context, output["name"])[...] = np.nan
        self.passed_ms += sum(map(self._layer_ms, record["layers"]))

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


def _is_int8(layer: dict[str, Any]) -> bool:
    return layer["type"] in PRODUCTS and bool(layer["inputs"][0].endswith("_dq"))
