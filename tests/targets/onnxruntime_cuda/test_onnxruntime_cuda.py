"""ONNX Runtime on a GPU: what is asked of it, and what its session promises."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tiny_network as tiny
from fake_ort_cuda import OrtGpu
from fake_pycuda import FakePycuda

from mahtrt.benchmarks.bench import bench
from mahtrt.benchmarks.options import BenchOptions
from mahtrt.build.compile import CompileOptions, compile
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.cuda import pycuda_device
from mahtrt.cuda.device import CudaError
from mahtrt.cuda.slots import DeviceTensor
from mahtrt.errors import BuildError, MahtrtError, MissingComponentError
from mahtrt.runtime import Session, open_session
from mahtrt.runtime.verify import VerifyOptions, verify
from mahtrt.targets.backend import EngineToOpen
from mahtrt.targets.onnxruntime_cuda import run
from mahtrt.targets.onnxruntime_cuda.bound_session import bind
from mahtrt.targets.onnxruntime_cuda.run import OnnxRuntimeCudaBackend
from mahtrt.targets.table import find_target

TARGET = find_target("onnxruntime-cuda")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[OrtGpu]:
    """A machine on which everything has to be given back."""
    made = OrtGpu(monkeypatch)
    yield made
    made.driver.check()


@pytest.fixture
def engine(tmp_path: Path) -> EngineToOpen:
    onnx = tiny.save(tiny.make_model(), tmp_path)
    record = EngineRecord("onnxruntime-cuda-fp32", TARGET.name, "fp32", {"onnx": onnx.name})
    return EngineToOpen(record, {"onnx": onnx}, tiny.SPEC)


def opened(engine: EngineToOpen) -> OnnxRuntimeCudaBackend:
    return OnnxRuntimeCudaBackend.open(engine)


def test_it_finds_what_the_cpu_finds(gpu: OrtGpu, engine: EngineToOpen) -> None:
    backend = opened(engine)
    assert (backend.device, backend.batch, backend.threads) == ("cuda:0 NVIDIA H200", 1, None)
    assert backend.notes == ()
    with Session(backend, tiny.SPEC, engine.record) as session:
        for seed in range(3):
            image, points = tiny.make_image(seed, zoom=2)
            found = session.run(image)
            np.testing.assert_allclose(found.points, points, atol=5e-3)
            assert found.device == "cuda:0 NVIDIA H200"
    (only,) = gpu.ort.sessions
    assert (only.runs, only.replays) == (4, 3)  # once on zeros, which records the graph


def test_it_runs_through_pycuda(
    gpu: OrtGpu, engine: EngineToOpen, monkeypatch: pytest.MonkeyPatch
) -> None:
    pycuda = FakePycuda(gpu.driver)
    opening = partial(pycuda_device.open_device, driver=pycuda)
    monkeypatch.setattr(run, "open_device", opening)
    with Session(opened(engine), tiny.SPEC, engine.record) as session:
        image, points = tiny.make_image(0)
        np.testing.assert_allclose(session.run(image).points, points, atol=5e-3)
    assert gpu.driver.retained == [1], "until the process ends"
    gpu.driver.retained = [0]


def test_what_is_asked_of_the_provider(gpu: OrtGpu, engine: EngineToOpen) -> None:
    opened(engine).close()
    (session,) = gpu.ort.sessions
    stream = session.options.pop("user_compute_stream")
    assert int(stream) > 2  # none of CUDA's default streams
    assert session.options == {
        "device_id": "0",
        "use_tf32": "0",
        "cudnn_conv_algo_search": "HEURISTIC",
        "do_copy_in_default_stream": "1",
        "arena_extend_strategy": "kSameAsRequested",
        "enable_cuda_graph": "1",
    }


def test_eight_threads_share_four_sessions(gpu: OrtGpu, engine: EngineToOpen) -> None:
    backend = opened(engine)
    barrier = threading.Barrier(8)
    with Session(backend, tiny.SPEC) as session:
        images = [tiny.make_image(seed)[0] for seed in range(8)]
        alone = [session.run(image).points for image in images]

        def work(index: int) -> bool:
            barrier.wait()
            runs = (session.run(images[index]).points for _ in range(10))
            return all(np.array_equal(points, alone[index]) for points in runs)

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(work, range(8)))
    assert 1 < len(gpu.ort.sessions) <= 4
    assert all(len(session.threads) == 1 for session in gpu.ort.sessions)


def test_a_session_has_one_thread_whoever_calls(gpu: OrtGpu, engine: EngineToOpen) -> None:
    backend = opened(engine)
    feed = {"image": np.zeros((1, 3, *tiny.SIZE), np.float32)}
    for _ in range(20):  # a new thread for each call, as some servers have it
        with ThreadPoolExecutor(1) as pool:
            pool.submit(backend.infer, feed).result()
    (session,) = gpu.ort.sessions
    assert (len(session.threads), session.runs, session.replays) == (1, 21, 20)
    backend.close()
    assert not [each for each in threading.enumerate() if "onnxruntime-cuda" in each.name]


def test_a_graph_that_is_refused_is_told_and_done_without(
    gpu: OrtGpu, engine: EngineToOpen
) -> None:
    gpu.ort.no_graph = "This session cannot use the graph capture feature"
    with Session(opened(engine), tiny.SPEC) as session:
        assert session.engine_notes == (
            "Without a CUDA graph: This session cannot use the graph capture feature.",
        )
        image, points = tiny.make_image(0)
        np.testing.assert_allclose(session.run(image).points, points, atol=5e-3)
    assert [session.graph for session in gpu.ort.sessions] == [False]


def test_a_recording_that_breaks_is_told_and_done_without(
    gpu: OrtGpu, engine: EngineToOpen
) -> None:
    gpu.ort.fails = "CUDA failure 901: operation failed ; GPU=0 ; hostname=abc ; line=1\nmore"
    backend = opened(engine)
    assert backend.notes == ("Without a CUDA graph: operation failed (error 901).",)
    backend.close()


def test_a_recording_that_broke_is_tried_again_by_the_next_session(
    gpu: OrtGpu, engine: EngineToOpen
) -> None:
    gpu.ort.fails = "CUDA failure 901: operation failed ; GPU=0 ; hostname=abc ; line=1\nmore"
    backend = opened(engine)
    feed = {"image": np.zeros((1, 3, *tiny.SIZE), np.float32)}
    pending = [backend.start(feed) for _ in range(2)]
    assert [session.graph for session in gpu.ort.sessions][-2:] == [False, True]
    for each in pending:
        each.close()
    assert backend.notes == ("Without a CUDA graph: operation failed (error 901).",)
    backend.close()


def test_a_graph_that_is_always_refused_is_not_tried_for_ever(
    gpu: OrtGpu, engine: EngineToOpen
) -> None:
    gpu.ort.no_graph = "This session cannot use the graph capture feature"
    backend = opened(engine)
    feed = {"image": np.zeros((1, 3, *tiny.SIZE), np.float32)}
    pending = [backend.start(feed) for _ in range(5)]
    assert (backend._maker.failures, backend._maker.tries_graph) == (3, False)
    for each in pending:
        each.close()
    backend.close()


def test_nodes_that_would_run_on_the_cpu_are_named(gpu: OrtGpu, engine: EngineToOpen) -> None:
    gpu.ort.not_taken = [("Resize", "up1"), ("Shape", "s")]
    with pytest.raises(BuildError, match="nodes that would run on the CPU: Resize up1, Shape s"):
        opened(engine)
    gpu.ort.not_taken = [("Add", "a")]
    with pytest.raises(BuildError, match="Add a"):
        opened(engine)


def test_shapes_may_be_computed_on_the_cpu(gpu: OrtGpu, engine: EngineToOpen) -> None:
    gpu.ort.not_taken = [("Shape", "s"), ("Gather", "g")]
    backend = opened(engine)
    assert "Shapes are computed on the CPU: Shape s, Gather g." in backend.notes
    backend.close()


def test_a_provider_that_cannot_be_loaded_is_no_cpu_session(
    gpu: OrtGpu, engine: EngineToOpen
) -> None:
    gpu.ort.loads = False
    with pytest.raises(MissingComponentError, match="CUDAExecutionProvider: it could not be"):
        opened(engine)


def test_a_failed_run_leaves_the_session_usable(gpu: OrtGpu, engine: EngineToOpen) -> None:
    backend = opened(engine)
    with Session(backend, tiny.SPEC) as session:
        image, points = tiny.make_image(0)
        gpu.ort.fails = "Failed to allocate memory for requested buffer of size 409856"
        with pytest.raises(MahtrtError, match=r"of size 409856.*use fewer threads"):
            session.run(image)
        np.testing.assert_allclose(session.run(image).points, points, atol=5e-3)
    assert len(gpu.ort.sessions) == 2


def test_a_lost_gpu_ends_the_session(gpu: OrtGpu, engine: EngineToOpen) -> None:
    backend = opened(engine)
    feed = {"image": np.zeros((1, 3, *tiny.SIZE), np.float32)}
    gpu.ort.fails = "CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; host=a"
    with pytest.raises(CudaError, match=r"illegal memory access was encountered \(error 700\)"):
        backend.infer(feed)
    with pytest.raises(MahtrtError, match=r"a GPU that was lost.*Start the program again"):
        backend.infer(feed)
    backend.close()


@pytest.mark.parametrize("call", ["cuMemAlloc", "cuMemHostAlloc", "cuStreamCreate"])
def test_no_memory_for_one_more_inference(gpu: OrtGpu, engine: EngineToOpen, call: str) -> None:
    gpu.driver.fail(call, 2)
    gpu.driver.fail(call, 2, at=2)  # also without a graph
    with pytest.raises(MahtrtError, match=call):
        opened(engine)


def test_close_lets_a_call_end(gpu: OrtGpu, engine: EngineToOpen) -> None:
    backend = opened(engine)
    feed = {"image": np.ones((1, 3, *tiny.SIZE), np.float32)}
    gpu.ort.while_running = backend.close
    assert backend.infer(feed)["landmarks"].shape == (1, 3, 2)
    with pytest.raises(MahtrtError, match=r"after close\(\)"):
        backend.infer(feed)


class OnGpu:
    """An array of another library, in memory that begins at a multiple of so many bytes."""

    def __init__(self, gpu: OrtGpu, array: np.ndarray, multiple: int) -> None:
        self.driver = gpu.driver
        self.start = gpu.driver.foreign(array.nbytes + 2 * multiple)
        address = -(-self.start // multiple) * multiple
        address += 16 if multiple == 16 and address % 256 == 0 else 0
        gpu.driver.memory.array(address, array.shape, np.float32)[...] = array
        self.__cuda_array_interface__ = {
            "shape": array.shape,
            "typestr": "<f4",
            "data": (address, False),
            "version": 3,
            "strides": None,
            "stream": None,
        }

    def drop(self) -> None:
        self.driver.drop(self.start)


@pytest.mark.parametrize("multiple", [256, 16], ids=["in place", "copied aside"])
def test_memory_of_the_gpu_is_run_where_it_is(
    gpu: OrtGpu, engine: EngineToOpen, multiple: int
) -> None:
    backend = opened(engine)
    given = np.random.default_rng(0).random((1, 3, *tiny.SIZE), np.float32)
    wanted = backend.infer({"image": given})["heatmaps"]
    source = OnGpu(gpu, given, multiple)
    for _ in range(3):
        with backend.infer_device({"image": source}) as result:
            result.synchronize()
            view = result.outputs["heatmaps"]
            found = gpu.driver.memory.array(view.address, view.shape, np.float32)
            np.testing.assert_array_equal(found, wanted)
    (session,) = gpu.ort.sessions
    # The recorded graph is that of the slot's own memory.
    assert session.replays == (1 if multiple == 256 else 4)
    assert session.runs == 5
    source.drop()
    backend.close()


def test_a_started_inference_is_ended_later(gpu: OrtGpu, engine: EngineToOpen) -> None:
    backend = opened(engine)
    feeds = [{"image": np.full((1, 3, *tiny.SIZE), i, np.float32)} for i in range(3)]
    wanted = [backend.infer(feed)["heatmaps"] for feed in feeds]
    pending = [backend.start(feed) for feed in feeds]
    for each, expected in zip(pending, wanted, strict=True):
        np.testing.assert_array_equal(each.result()["heatmaps"], expected)
    assert backend.pool.made == 3
    backend.close()


@pytest.mark.slow
def test_it_is_compiled_judged_benched_and_verified_as_any_target(
    gpu: OrtGpu, tiny_bundle: Path, tmp_path: Path
) -> None:
    done = compile(CompileOptions(tiny_bundle, TARGET.name, tmp_path / "gpu.mahtrt"))
    (record,) = done.manifest.engines
    assert record.verdict is not None
    assert (record.verdict.passed, record.verdict.measured_on) == (True, "engine")
    assert record.latency is not None
    assert dict(record.files) == {"onnx": "model.onnx"}  # the export itself, stored once
    assert record.device.settings["tf32"] == "off"
    (replay,) = verify(VerifyOptions(done.path, require="gpu")).replays
    assert replay.device == "cuda:0 NVIDIA H200"
    report = bench(BenchOptions(done.path, rounds=2, require="gpu"))
    devices = {row.name: row.device for row in report.rows}
    assert devices == {"onnxruntime": "cpu", "onnxruntime-cuda-fp32": "cuda:0 NVIDIA H200"}
    with open_session(done.path, require="gpu") as session:
        assert session.engine_notes == ()
    with pytest.raises(MissingComponentError, match="a CPU is required"):
        open_session(done.path, require="cpu")


def test_the_binding_is_right_for_the_real_package(tmp_path: Path) -> None:
    """The same code binds memory of the CPU, where the real provider runs."""
    path = tiny.save(tiny.make_model(), tmp_path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).random((1, 3, *tiny.SIZE), np.float32)
    wanted = session.run(None, {"image": image})
    arrays = {each.name: np.zeros(each.shape, np.float32) for each in session.get_outputs()}
    kind = np.dtype(np.float32)
    tensors = [DeviceTensor("image", image.shape, kind, True)]
    tensors += [DeviceTensor(name, array.shape, kind, False) for name, array in arrays.items()]
    arrays["image"] = image
    addresses = {name: array.ctypes.data for name, array in arrays.items()}
    binding = bind(session, tensors, addresses, "cpu", 0)
    session.run_with_iobinding(binding)
    for array, expected in zip(list(arrays.values())[:-1], wanted, strict=True):
        np.testing.assert_array_equal(array, expected)
    image += 1.0  # the binding reads what is there when it runs
    session.run_with_iobinding(binding)
    np.testing.assert_array_equal(
        arrays["heatmaps"], session.run(["heatmaps"], {"image": image})[0]
    )
