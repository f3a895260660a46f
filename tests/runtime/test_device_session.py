"""A session on a GPU: images prepared there, arrays of the GPU in, outputs left on it.

The fake GPU runs the source of the preprocessing kernel, and engines by ONNX Runtime.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tensorrt_stage import Stage
from tiny_network import SIZE, SPEC, make_image

from mahtrt.cuda.views import DeviceView
from mahtrt.data.preprocess import preprocess
from mahtrt.errors import ImageError, InputError, MahtrtError, UsageError
from mahtrt.runtime import Session, open_session

LANDMARKS = SPEC.outputs[0].name


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage("10.16.1", tmp_path, monkeypatch)


@pytest.fixture
def session(stage: Stage) -> Iterator[Session]:
    with Session(stage.open(), SPEC, stage.engine) as opened:
        yield opened
    stage.cuda.check()


class ForeignArray:
    """An array of another library on the fake GPU."""

    def __init__(self, stage: Stage, content: NDArray[Any]) -> None:
        self.stage, self.content = stage, content
        self.address = stage.cuda.foreign(content.nbytes)
        self.read()[...] = content

    def read(self) -> NDArray[Any]:
        content, memory = self.content, self.stage.cuda.memory
        return memory.array(self.address, content.shape, content.dtype)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        content = self.content
        return {
            "shape": content.shape,
            "typestr": content.dtype.str,
            "data": (self.address, False),
            "version": 3,
        }

    def drop(self) -> None:
        self.stage.cuda.drop(self.address)


@pytest.mark.parametrize(("zoom", "margin"), [(1, 0), (3, 0), (1, 4), (2, 6)])
def test_landmarks_are_where_the_blocks_are(session: Session, zoom: int, margin: int) -> None:
    for seed in range(3):
        image, points = make_image(seed, zoom=zoom, margin=margin)
        np.testing.assert_allclose(session.run(image).points, points, atol=2e-3)


def test_only_raw_pixels_and_wanted_outputs_cross_the_bus(stage: Stage, session: Session) -> None:
    image, _ = make_image(1, zoom=2)
    session.run(image)
    calls = stage.cuda.calls
    assert calls.count("cuMemcpyHtoDAsync") == 1
    assert calls.count("cuLaunchKernel") == 1
    assert calls.count("cuMemcpyDtoHAsync") == 3  # landmarks, confidence, spread: no heatmaps


def test_a_second_image_costs_no_memory_and_replays_a_graph(stage: Stage, session: Session) -> None:
    for seed in range(3):
        session.run(make_image(seed)[0])
    before = list(stage.cuda.calls)
    for seed in range(20):
        session.run(make_image(seed, zoom=1 + seed % 2)[0])
    later = stage.cuda.calls[len(before) :]
    assert later.count("cuGraphLaunch") == 20
    assert {"cuMemAlloc", "cuMemHostAlloc", "cuGraphInstantiate", "cuEventCreate"}.isdisjoint(later)


def test_why_nothing_is_recorded_is_told_once_it_is_known(stage: Stage) -> None:
    with Session(stage.open(), SPEC) as session:
        image, points = make_image(0)
        session.run(image)
        assert not session.engine_notes
        stage.cuda.fail("cuStreamBeginCapture", 900)
        np.testing.assert_allclose(session.run(image).points, points, atol=2e-3)
        notes = session.engine_notes
        assert len(notes) == 1
        assert notes[0].startswith("Without a CUDA graph: ")
        assert "900" in notes[0]
        assert session.facts["cuda_graph"].startswith("none: ")
    stage.cuda.check()


def test_images_on_the_gpu_are_read_where_they_are(stage: Stage, session: Session) -> None:
    image, points = make_image(2, zoom=3)
    array = ForeignArray(stage, image)
    np.testing.assert_array_equal(session.run(array).points, session.run(image).points)  # type: ignore[arg-type]
    np.testing.assert_allclose(session.run(array).points, points, atol=2e-3)  # type: ignore[arg-type]
    array.drop()
    with pytest.raises(InputError, match=r"image: got .*expected memory of device 0"):
        session.run(array)  # type: ignore[arg-type]


def test_a_stream_of_images_is_their_runs(session: Session) -> None:
    images = [make_image(seed, zoom=1 + seed % 3)[0] for seed in range(9)]
    wanted = [session.run(image) for image in images]
    for ours, theirs in zip(session.stream(iter(images), depth=3), wanted, strict=True):
        np.testing.assert_array_equal(ours.points, theirs.points)


def test_a_stream_looks_at_arrays_in_the_thread_that_made_them(
    stage: Stage, session: Session
) -> None:
    asked: list[int] = []

    class Watched(ForeignArray):
        @property
        def __cuda_array_interface__(self) -> dict[str, Any]:
            asked.append(threading.get_ident())
            return super().__cuda_array_interface__

    arrays = [Watched(stage, make_image(seed)[0]) for seed in range(3)]
    found = list(session.stream(arrays))  # type: ignore[arg-type]
    assert len(found) == 3
    assert set(asked) == {threading.get_ident()}
    for array in arrays:
        array.drop()


def tensor_of(seed: int) -> NDArray[np.float32]:
    return preprocess(make_image(seed)[0], SPEC.input)[0][None]


def read(stage: Stage, view: DeviceView) -> NDArray[Any]:
    return stage.cuda.memory.array(view.address, view.shape, view.dtype).copy()


def test_outputs_stay_on_the_gpu(stage: Stage, session: Session) -> None:
    wanted = session.infer(tensor_of(4))
    array = ForeignArray(stage, tensor_of(4))
    copies = stage.cuda.calls.count("cuMemcpyDtoHAsync")
    with session.infer_device(array) as result:
        result.synchronize()
        assert (result.engine, result.device) == (session.name, session.device)
        assert result.outputs.keys() == wanted.keys()
        for name, view in result.outputs.items():
            assert view.__cuda_array_interface__["stream"] == result.stream
            np.testing.assert_array_equal(read(stage, view), wanted[name])
    assert stage.cuda.calls.count("cuMemcpyDtoHAsync") == copies
    array.drop()


def test_outputs_go_into_memory_of_the_caller_on_its_stream(stage: Stage, session: Session) -> None:
    wanted = session.infer(tensor_of(5))[LANDMARKS]
    array = ForeignArray(stage, np.zeros((1, 3, *SIZE), np.float32))
    place = ForeignArray(stage, np.zeros_like(wanted))
    stream = stage.cuda.foreign_stream()

    def produce() -> None:
        array.read()[...] = tensor_of(5)

    stage.cuda.submit(stream, produce, [array.address])  # done only when the stream is waited for
    theirs = SimpleNamespace(cuda_stream=stream)  # as PyTorch's
    with session.infer_device({"image": array}, into={LANDMARKS: place}, stream=theirs) as result:
        assert result.stream == stream
        result.synchronize()
        np.testing.assert_array_equal(place.read(), wanted)
    array.drop()
    place.drop()
    stage.cuda.scheduler.streams.pop(stream)


def test_what_cannot_be_used_is_refused_and_the_session_goes_on(
    stage: Stage, session: Session
) -> None:
    array = ForeignArray(stage, np.zeros((1, 3, *SIZE), np.float32))
    address = array.address
    for wrong, said in (
        ((address, (1, 3, 32, 47), np.float32), r"input image: got shape \(1, 3, 32, 47\)"),
        ((address, (1, 3, *SIZE), np.float16), "input image: got elements of float16"),
        ((0x1000, (1, 3, *SIZE), np.float32), "which the driver does not know"),
        ({"picture": array}, "tensor: got a mapping with picture"),
        (np.zeros((1, 3, *SIZE), np.float32), "got memory of the host; expected memory of a GPU"),
    ):
        with pytest.raises(InputError, match=said):
            session.infer_device(wrong)
    with pytest.raises(InputError, match="got memory for size_of_nose"):
        session.infer_device(array, into={"size_of_nose": array})
    with pytest.raises(MahtrtError, match="another context"):
        session.infer_device(array, stream=stage.cuda.foreign_stream(context=99))
    with pytest.raises(ImageError, match="image: got a str"):
        session.run("image.png")  # type: ignore[arg-type]
    image, points = make_image(0)
    np.testing.assert_allclose(session.run(image).points, points, atol=2e-3)
    array.drop()
    for handle in [h for h, s in stage.cuda.scheduler.streams.items() if s.context == 99]:
        stage.cuda.scheduler.streams.pop(handle)


def test_an_engine_on_a_cpu_says_what_to_do(tiny_bundle: Path) -> None:
    with (
        open_session(tiny_bundle, engine="onnxruntime", threads=1) as session,
        pytest.raises(UsageError, match=r"onnxruntime-fp32, which runs on cpu.*require='gpu'"),
    ):
        session.infer_device(np.zeros((1, 3, *SIZE), np.float32))
