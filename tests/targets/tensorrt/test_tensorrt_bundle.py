"""A TensorRT engine in a bundle: hashed before it is loaded, refused with a way out."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from tensorrt_stage import Stage
from tiny_network import SPEC, make_image, make_model

from mahtrt.bundle.bundle import write_bundle
from mahtrt.bundle.manifest import GraphRecord, Manifest
from mahtrt.cuda import apis
from mahtrt.cuda.probe import CudaProbe
from mahtrt.errors import IntegrityError, MissingComponentError
from mahtrt.runtime.opening import open_session
from mahtrt.targets.table import find_target


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage("11.4.0", tmp_path, monkeypatch)


def write(stage: Stage, path: Path) -> Path:
    with write_bundle(path) as writer:
        onnx.save(make_model(), writer.place("model.onnx"))
        plan = writer.place("engines/tensorrt-fp32/model.plan")
        plan.write_bytes(stage.plan.read_bytes())
        engine = dataclasses.replace(
            stage.engine,
            name="tensorrt-fp32",
            precision="fp32",
            files={"onnx": "model.onnx", "plan": "engines/tensorrt-fp32/model.plan"},
        )
        writer.finish(
            Manifest(
                spec=SPEC,
                precision="fp32",
                graphs=(GraphRecord("fp32", "model.onnx", "fp32"),),
                engines=(engine,),
                default_engine="tensorrt-fp32",
                preprocess_version=1,
            )
        )
    return path


def test_a_bundle_opens_and_finds_landmarks(stage: Stage, tmp_path: Path) -> None:
    session = open_session(write(stage, tmp_path / "tiny.mahtrt"))
    image, points = make_image(3)
    np.testing.assert_allclose(session.run(image).points, points, atol=1e-3)
    assert session.name == "tensorrt-fp32"
    session.close()
    stage.cuda.check()


def test_a_changed_plan_is_never_loaded(stage: Stage, tmp_path: Path) -> None:
    path = write(stage, tmp_path / "tiny.mahtrt")
    plan = path / "engines/tensorrt-fp32/model.plan"
    data = bytearray(plan.read_bytes())
    data[-10] ^= 1
    plan.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"model\.plan"):
        open_session(path)
    assert stage.trt.state.runtimes == 0
    assert stage.cuda.calls == []


def test_without_package_or_driver_it_is_a_missing_component(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(stage, tmp_path / "tiny.mahtrt")
    none = CudaProbe(problem="no NVIDIA driver (libcuda.so.1 cannot be loaded)")
    monkeypatch.setattr(apis, "probe_cuda", lambda: none)
    monkeypatch.setattr("mahtrt.targets.tensorrt.run.open_device", apis.open_device)
    stage.trt.state.driver = False
    with pytest.raises(MissingComponentError, match="no NVIDIA driver") as caught:
        open_session(path)
    assert caught.value.exit_code == 6
    monkeypatch.delitem(sys.modules, "tensorrt")
    missing = dataclasses.replace(find_target("tensorrt"), package="a_package_nobody_has")
    monkeypatch.setattr("mahtrt.targets.tensorrt.target.TENSORRT", missing)
    with pytest.raises(MissingComponentError, match=r"mahtrt\[tensorrt\]"):
        open_session(path)
    assert stage.trt.state.runtimes == 0
