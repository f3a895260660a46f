"""Engines that end at the heatmaps, with the kernel behind them, on the fake GPU and TensorRT."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from decode_stage import DecodeStage, spec_of
from numpy.typing import NDArray
from soft_argmax_graph import IMAGE, MAPS, OUTPUTS, make_model
from tensorrt_stage import make_plan

from mahtrt.cuda.bindings import open_device
from mahtrt.errors import IntegrityError, ModelError
from mahtrt.runtime.soft_argmax import soft_argmax
from mahtrt.targets.tensorrt.run import TensorRtBackend

LARGE = (2, 3, 96, 192)  # maps that several blocks read together


@pytest.fixture
def stages() -> Iterator[list[DecodeStage]]:
    made: list[DecodeStage] = []
    yield made
    for stage in made:
        for backend in stage.opened:
            backend.close()
        stage.cuda.check()


def peaks(size: tuple[int, int, int, int], seed: int) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    ys, xs = np.mgrid[: size[2], : size[3]]
    maps = np.empty(size, np.float32)
    for index in np.ndindex(size[:2]):
        y, x = random.random(2) * size[2:]
        maps[index] = np.exp(-((ys - y) ** 2 + (xs - x) ** 2) / 8)
    return maps


@pytest.mark.parametrize("size", [MAPS, LARGE], ids=["small", "large"])
def test_the_kernel_gives_what_the_graph_gave(
    stages: list[DecodeStage], size: tuple[int, int, int, int]
) -> None:
    stage = DecodeStage(make_model(size=size), spec_of(size))
    stages.append(stage)
    backend = stage.open()
    for seed in range(4):  # plainly, recorded, and twice replayed
        maps = peaks(size, seed)
        found, wanted = backend.infer({"x": maps}), stage.whole(maps)
        assert list(found) == list(OUTPUTS)
        np.testing.assert_allclose(found["landmarks"], wanted["landmarks"], atol=1e-3)
        np.testing.assert_array_equal(found["confidence"], wanted["confidence"])
        np.testing.assert_allclose(found["spread"], wanted["spread"], atol=1e-3)
    assert stage.cuda.calls.count("cuGraphLaunch") >= 2
    assert not backend.notes


def test_heatmaps_are_read_in_half_precision(stages: list[DecodeStage]) -> None:
    model = make_model(from_half=True)
    # The network takes FP32 images: the cast stands before the product.
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    cast = onnx.helper.make_node("Cast", ["x"], ["x_half"], to=onnx.TensorProto.FLOAT16)
    model.graph.node[0].input[0] = "x_half"
    model.graph.node.insert(0, cast)
    stage = DecodeStage(model, spec_of(MAPS))
    stages.append(stage)
    assert stage.decode.dtype == "float16"
    maps = peaks(MAPS, 1)
    found = stage.open().infer({"x": maps})
    # ONNX Runtime computes such a product in FP32 on a CPU, so the definition has to say.
    halves = maps.astype(np.float16) * np.float16(2)
    points, confidence, spread = soft_argmax(halves, stage.decode.temperature or 0, IMAGE)
    np.testing.assert_allclose(found["landmarks"], points, atol=1e-4)
    np.testing.assert_array_equal(found["confidence"], confidence)
    np.testing.assert_allclose(found["spread"], spread, atol=1e-4)


def test_landmarks_stay_on_the_gpu(stages: list[DecodeStage]) -> None:
    stage = DecodeStage(make_model(), spec_of(MAPS))
    stages.append(stage)
    backend, maps = stage.open(), peaks(MAPS, 2)
    address = stage.cuda.foreign(maps.nbytes)
    stage.cuda.memory.array(address, MAPS, np.float32)[...] = maps
    with backend.infer_device({"x": (address, MAPS, np.float32)}) as result:
        result.synchronize()
        view = result.outputs["landmarks"]
        found = stage.cuda.memory.array(view.address, view.shape, view.dtype).copy()
    np.testing.assert_allclose(found, stage.whole(maps)["landmarks"], atol=1e-3)
    stage.cuda.drop(address)


def test_layer_times_are_those_of_the_engine(stages: list[DecodeStage]) -> None:
    stage = DecodeStage(make_model(), spec_of(MAPS))
    stages.append(stage)
    (times,) = stage.open().layer_times({"x": peaks(MAPS, 0)}, 1)
    assert times


@pytest.mark.parametrize(
    "change",
    [{"heatmaps": "others"}, {"shape": (2, 3, 12, 21)}, {"dtype": "float16"}],
    ids=str,
)
def test_a_record_of_another_engine_is_refused(
    stages: list[DecodeStage], change: dict[str, Any]
) -> None:
    stage = DecodeStage(make_model(), spec_of(MAPS))
    stages.append(stage)
    with pytest.raises(IntegrityError, match=r"heatmaps float32.*which the kernel decodes"):
        stage.open(dataclasses.replace(stage.decode, **change))


def test_half_precision_outputs_without_a_kernel_are_refused() -> None:
    stage = DecodeStage(make_model(from_half=True), spec_of(MAPS))
    device = open_device(needed_for="a test", driver=stage.cuda)
    with device, pytest.raises(ModelError, match="expected float32 of static shape"):
        TensorRtBackend(
            stage.trt, make_plan(stage.trt, stage.cut), device, spec_of(MAPS), "test", None
        )
    device.close()
