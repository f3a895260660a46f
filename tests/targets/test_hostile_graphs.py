"""Graphs that a runtime refuses, or that fail when they run: errors of ours, whatever it raises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_network as tiny
from onnx import TensorProto, helper

from mahtrt.errors import BuildError, MahtrtError, ModelError
from mahtrt.graph.runner import ImageRunner
from mahtrt.targets.onnxruntime.build import build_engine as build_onnxruntime
from mahtrt.targets.openvino.build import build_engine as build_openvino
from mahtrt.targets.openvino.run import read_model
from mahtrt.targets.target import EngineOptions

BUILDERS = (build_onnxruntime, build_openvino)
Build = Callable[..., object]


def renamed(old: bytes) -> bytes:
    content = tiny.make_model().SerializeToString()
    assert old in content
    return content.replace(old, b"\xff" * len(old))


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize("name", [b"image", b"landmarks"])
def test_names_that_are_not_utf_8(tmp_path: Path, build: Build, name: bytes) -> None:
    (tmp_path / "a.onnx").write_bytes(renamed(name))
    with pytest.raises(MahtrtError, match=r"a\.onnx") as caught:
        build(tmp_path / "a.onnx", "fp32", tmp_path, EngineOptions(trial=True))
    assert isinstance(caught.value, BuildError | ModelError)


@pytest.mark.parametrize("build", BUILDERS)
def test_a_graph_of_a_single_number(tmp_path: Path, build: Build) -> None:
    info = helper.make_tensor_value_info("x", TensorProto.FLOAT, [])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [])
    graph = helper.make_graph([helper.make_node("Abs", ["x"], ["y"])], "net", [info], [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(ModelError, match="expected static shapes"):
        build(tmp_path / "a.onnx", "fp32", tmp_path, EngineOptions(trial=True))


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize("location", ["../w.bin", "{outside}/w.bin", "link.bin"])
def test_weights_outside_of_the_folder_are_not_read(
    tmp_path: Path, build: Build, location: str
) -> None:
    model, folder = tiny.make_model(), tmp_path / "graph"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(bytes(10**6))
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    weight = next(t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location.format(outside=tmp_path))
    (folder / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BuildError, match=r"a\.onnx"):
        build(folder / "a.onnx", "fp32", folder, EngineOptions(trial=True))


def test_a_graph_of_another_format_is_not_read_as_one(tmp_path: Path) -> None:
    # An IR of OpenVINO, which it would read under any name.
    (tmp_path / "a.onnx").write_text(
        '<net name="a" version="11"><layers><layer id="0" name="x" type="Parameter" '
        'version="opset1"><data shape="1,3" element_type="f32"/><output><port id="0" '
        'precision="FP32"><dim>1</dim><dim>3</dim></port></output></layer><layer id="1" name="y" '
        'type="Result" version="opset1"><input><port id="0" precision="FP32"><dim>1</dim><dim>3'
        '</dim></port></input></layer></layers><edges><edge from-layer="0" from-port="0" '
        'to-layer="1" to-port="0"/></edges></net>'
    )
    with pytest.raises(RuntimeError):
        read_model(tmp_path / "a.onnx")


def test_a_graph_that_fails_when_it_runs() -> None:
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 4, 4])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    shape = onnx.numpy_helper.from_array(np.array([7, 7], np.int64), "size")
    nodes = [
        helper.make_node("NonZero", ["image"], ["places"]),  # of a size that is known when it runs
        helper.make_node("Cast", ["places"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["numbers", "size"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "net", [image], [result], [shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    runner = ImageRunner(model, "my graph")
    with pytest.raises(ModelError, match=r"my graph: got .*Reshape"):
        runner.run([{"image": np.zeros((3, 4, 4), np.float32)}])
