"""TensorRT in slots: graphs, memory of the caller's, a GPU that is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tensorrt_stage import Stage
from tiny_network import SIZE, SPEC, make_image, make_model

from mahtrt.cuda.device import CudaError
from mahtrt.cuda.probe import probe_cuda
from mahtrt.data.preprocess import preprocess
from mahtrt.errors import InputError, MahtrtError
from mahtrt.targets.backend import EngineToOpen
from mahtrt.targets.table import find_target
from mahtrt.targets.tensorrt.run import TensorRtBackend

IMAGE = (1, 3, *SIZE)


@pytest.fixture(params=["10.16.1", "11.4.0"])
def stage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(request.param, tmp_path, monkeypatch)


def image_of(seed: int) -> np.ndarray:
    return preprocess(make_image(seed)[0], SPEC.input)[0][None]


def feed_of(seed: int) -> dict[str, np.ndarray]:
    return {SPEC.input.name: image_of(seed)}


def on_the_gpu(stage: Stage, seed: int) -> int:
    """Memory of the caller's with an image in it."""
    address = stage.cuda.foreign(int(np.prod(IMAGE)) * 4)
    stage.cuda.memory.array(address, IMAGE, np.float32)[...] = image_of(seed)
    return address


def test_replayed_inferences_are_those_of_the_first(stage: Stage) -> None:
    backend = stage.open()
    first = [backend.infer(feed_of(seed))["landmarks"] for seed in range(4)]
    again = [backend.infer(feed_of(seed))["landmarks"] for seed in range(4)]
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1])
    enqueued = stage.trt.state.called("IExecutionContext.execute_async_v3")
    assert len(enqueued) == 2, "once plainly, once into the graph"
    assert backend.notes == ()
    backend.close()
    stage.cuda.check()


def test_addresses_are_told_when_they_change(stage: Stage) -> None:
    backend, told = stage.open(), []
    for seed in (0, 1):
        image = (on_the_gpu(stage, seed), IMAGE, np.float32)
        with backend.infer_device({"image": image}) as result:
            result.synchronize()
            place = result.outputs["landmarks"]
            found = stage.cuda.memory.array(place.address, place.shape, np.float32).copy()
        np.testing.assert_array_equal(found, backend.infer(feed_of(seed))["landmarks"])
        told.append(image[0])
    addresses = stage.trt.state.called("IExecutionContext.set_tensor_address")
    own = next(place for name, place in addresses if name == "image")
    assert [place for name, place in addresses if name == "image"][:4] == [
        own,
        told[0],
        own,
        told[1],
    ]
    assert sum(name == "landmarks" for name, _ in addresses) == 1
    backend.close()
    for each in told:
        stage.cuda.drop(each)
    stage.cuda.check()


def test_an_engine_that_cannot_be_captured_runs_and_says_why(stage: Stage) -> None:
    def breaks(context: Any) -> bool:
        for stream in stage.cuda.scheduler.streams:
            stage.cuda.invalidate_capture(stream)
        return True

    stage.trt.state.on_enqueue = breaks
    backend = stage.open()
    found = [backend.infer(feed_of(0))["landmarks"] for _ in range(3)]
    np.testing.assert_array_equal(found[0], found[2])
    (note,) = backend.notes
    assert note.startswith("Without a CUDA graph: CUDA: cuMemcpyDtoHAsync")
    assert "STREAM_CAPTURE_INVALIDATED" in note
    assert "\n" not in note
    backend.close()
    stage.cuda.check()


def test_a_capture_that_tensorrt_refuses_is_done_without(stage: Stage) -> None:
    stage.trt.state.on_enqueue = lambda context: (
        not any(stage.cuda.is_capturing(stream) for stream in stage.cuda.scheduler.streams)
    )
    backend = stage.open()
    for seed in range(3):
        assert "landmarks" in backend.infer(feed_of(seed))
    assert "TensorRT refuses the inference" in backend.notes[0]
    backend.close()
    stage.cuda.check()


def test_memory_that_is_wrong_is_refused_and_the_engine_goes_on(stage: Stage) -> None:
    backend = stage.open()
    place, host = on_the_gpu(stage, 0), np.zeros(IMAGE)
    wrong = {
        "float16": (place, IMAGE, np.float16),
        r"shape \(1, 3, 8, 8\)": (place, (1, 3, 8, 8), np.float32),
        "does not know": (host.ctypes.data, IMAGE, np.float32),
        "memory of the host": image_of(0),
    }
    for told, image in wrong.items():
        with pytest.raises(InputError, match=told):
            backend.infer_device({"image": image})
    stranger = stage.cuda.foreign_stream(context=0x9999)
    with pytest.raises(CudaError, match="of another context"):
        backend.infer_device({"image": (place, IMAGE, np.float32)}, stream=stranger)
    assert "landmarks" in backend.infer(feed_of(0))
    assert backend.pool.made == 1
    backend.close()
    stage.cuda.drop(place)
    stage.cuda.check()


def test_a_gpu_that_is_lost_is_told_in_one_line(stage: Stage) -> None:
    backend = stage.open()
    backend.infer(feed_of(0))
    stage.cuda.fail("cuStreamSynchronize", 719)
    with pytest.raises(CudaError, match="LAUNCH_FAILED"):
        backend.infer(feed_of(1))
    with pytest.raises(MahtrtError, match=r"a GPU that was lost") as caught:
        backend.infer(feed_of(1))
    assert "\n" not in str(caught.value)
    backend.close()
    stage.cuda.check()


def test_a_gpu_that_tensorrt_loses_is_known_when_its_slot_is_freed(stage: Stage) -> None:
    def breaks(context: Any) -> bool:
        stage.cuda.fail("*", 700)
        return False

    backend = stage.open()
    backend.infer(feed_of(0))
    stage.trt.state.on_enqueue = breaks
    with pytest.raises(MahtrtError, match="TensorRT refuses the inference"):
        backend.infer(feed_of(1), ["landmarks"])
    with pytest.raises(MahtrtError, match=r"a GPU that was lost.*ILLEGAL_ADDRESS"):
        backend.infer(feed_of(1))
    backend.close()
    stage.cuda.check()


def test_inferences_can_be_started_before_they_are_wanted(stage: Stage) -> None:
    backend = stage.open()
    expected = [backend.infer(feed_of(seed))["landmarks"] for seed in range(3)]
    pending = [backend.start(feed_of(seed)) for seed in range(3)]
    for seed in (1, 2, 0):
        np.testing.assert_array_equal(pending[seed].result()["landmarks"], expected[seed])
    backend.close()
    stage.cuda.check()


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(bool(probe_cuda().problem), reason=probe_cuda().problem or "a GPU is here")
def test_tensors_of_torch_go_through_tensorrt_rtx_on_a_real_gpu(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    trt = pytest.importorskip("tensorrt_rtx_bindings", reason="needs the extra tensorrt-rtx")
    probe = probe_cuda()
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    if not hasattr(trt.ComputeCapability, probe.capabilities[0]):
        pytest.skip(f"TensorRT-RTX {trt.__version__} has no kernels for {probe.devices[0]}")
    onnx_path = tmp_path / "model.onnx"
    onnx.save(make_model(), onnx_path)
    built = find_target("tensorrt-rtx").build(onnx_path, "fp32", tmp_path / "engine")
    engine = built.record("tensorrt-rtx", "fp32")
    backend = TensorRtBackend.open(EngineToOpen(engine, built.files, SPEC))
    for seed in (0, 1, 0, 1):
        expected = backend.infer(feed_of(seed))["landmarks"]
        image = torch.from_numpy(image_of(seed)).cuda()
        stream = torch.cuda.current_stream()
        with backend.infer_device({"image": image}, stream=stream) as result:
            found = torch.as_tensor(result.outputs["landmarks"], device="cuda").cpu().numpy()
        np.testing.assert_array_equal(found, expected)
    backend.close()
