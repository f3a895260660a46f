"""An engine of the tiny network on a fake GPU."""

from __future__ import annotations

import dataclasses
import sys
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import pytest
from fake_driver import FakeDriver, FakeGpuModel
from fake_tensorrt import make_fake
from kernels_on_fake_gpu import teach
from tiny_network import SPEC, make_model

from mahtrt.bundle.manifest import EngineRecord
from mahtrt.bundle.records import DeviceRecord
from mahtrt.cuda.bindings import open_device
from mahtrt.targets.backend import EngineToOpen
from mahtrt.targets.tensorrt.run import TensorRtBackend

RTX_4090 = FakeGpuModel("NVIDIA RTX 4090", (8, 9), 128)


def make_plan(trt: Any, model: onnx.ModelProto) -> bytes:
    logger = trt.Logger()
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    assert trt.OnnxParser(network, logger).parse(model.SerializeToString())
    return bytes(builder.build_serialized_network(network, builder.create_builder_config()))


def record(**changes: Any) -> EngineRecord:
    base = EngineRecord(
        name="tensorrt-int8",
        target="tensorrt",
        precision="int8",
        files={"onnx": "model.int8.onnx", "plan": "engines/tensorrt-int8/model.plan"},
        device=DeviceRecord(
            name="NVIDIA RTX 4090",
            platform="linux_x86_64",
            capabilities=("SM89",),
            settings={"hardware_compatibility": "none"},
        ),
        versions={"tensorrt": "10.16.1"},
    )
    device = dataclasses.replace(base.device, **changes.pop("device", {}))
    return dataclasses.replace(base, device=device, **changes)


class Stage:
    """A fake TensorRT on a fake GPU whose engines compute what ONNX Runtime computes."""

    def __init__(self, version: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.trt = make_fake(version)
        self.trt.state.gpu = self.cuda = FakeDriver(gpus=[RTX_4090])
        self.cuda.keep_calls = True
        teach(self.cuda, "preprocess")
        self.plan = folder / "model.plan"
        self.plan.write_bytes(make_plan(self.trt, make_model()))
        self.trt.state.calls.clear()
        self.engine = record(versions={"tensorrt": version})
        monkeypatch.setitem(sys.modules, "tensorrt", self.trt)
        run = "mahtrt.targets.tensorrt.run"
        monkeypatch.setattr(f"{run}.open_device", partial(open_device, driver=self.cuda))
        monkeypatch.setattr(f"{run}.build_platform", lambda: "linux_x86_64")

    def open(self) -> TensorRtBackend:
        return TensorRtBackend.open(EngineToOpen(self.engine, {"plan": self.plan}, SPEC))
