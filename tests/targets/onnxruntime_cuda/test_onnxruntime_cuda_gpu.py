"""ONNX Runtime on a real GPU: it computes there, exactly, and without growing."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tiny_network as tiny

from mahtrt.build.compile import CompileOptions, compile
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.cuda.apis import open_device
from mahtrt.errors import BuildError
from mahtrt.runtime import Session, open_session
from mahtrt.runtime.verify import VerifyOptions, verify
from mahtrt.targets.backend import EngineToOpen
from mahtrt.targets.onnxruntime.run import OnnxRuntimeBackend, OrtMode, open_onnx
from mahtrt.targets.onnxruntime_cuda.findings import can_run
from mahtrt.targets.onnxruntime_cuda.run import OnnxRuntimeCudaBackend
from mahtrt.targets.table import find_target

FOUND = can_run()
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not FOUND.able, reason=FOUND.detail),
]
TARGET = find_target("onnxruntime-cuda")


def engine_of(model: onnx.ModelProto, precision: str, folder: Path) -> EngineToOpen:
    path = tiny.save(model, folder)
    record = TARGET.build(path, precision, folder).record(TARGET.name, precision)
    assert TARGET.can_run(record)
    return EngineToOpen(record, {"onnx": path}, tiny.SPEC)


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[OnnxRuntimeCudaBackend]:
    opened = OnnxRuntimeCudaBackend.open(engine_of(tiny.make_model(), "fp32", tmp_path))
    yield opened
    opened.close()


def images(count: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(3)
    return [{"image": rng.random((1, 3, *tiny.SIZE), np.float32)} for _ in range(count)]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_outputs_are_those_of_the_cpu(precision: str, tmp_path: Path) -> None:
    """FP32 without TF32, whose products are off by a thousandth; Q/DQ as they stand."""
    model = tiny.make_model() if precision == "fp32" else tiny.make_int8_model()
    engine = engine_of(model, precision, tmp_path)
    opened = open_onnx(engine.file("onnx"), "cpu", mode=OrtMode.LITERAL_INT8)
    cpu = OnnxRuntimeBackend(opened, tiny.SPEC, "cpu")
    gpu = OnnxRuntimeCudaBackend.open(engine)
    for feed in images(4):
        wanted, found = cpu.infer(feed), gpu.infer(feed)
        for name, array in wanted.items():
            np.testing.assert_allclose(found[name], array, atol=2e-5, rtol=2e-5)
    gpu.close()


def test_runs_are_played_from_a_graph(backend: OnnxRuntimeCudaBackend) -> None:
    assert backend.notes == ()
    assert backend.device.startswith("cuda:0 ")
    feeds = images(5)
    first = [backend.infer(feed)["heatmaps"] for feed in feeds]
    for feed, wanted in zip(feeds, first, strict=True):  # what it plays reads the new image
        np.testing.assert_array_equal(backend.infer(feed)["heatmaps"], wanted)
        expected = feed["image"].reshape(1, 3, 16, 2, 24, 2).mean((3, 5))
        np.testing.assert_allclose(wanted, expected, atol=1e-5)


def test_eight_threads_give_what_one_gives(backend: OnnxRuntimeCudaBackend) -> None:
    feeds = images(8)
    alone = [backend.infer(feed) for feed in feeds]

    def work(index: int) -> bool:
        for _ in range(1000):
            found = backend.infer(feeds[index])
            if not all(np.array_equal(found[name], alone[index][name]) for name in found):
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_nothing_grows(backend: OnnxRuntimeCudaBackend) -> None:
    feed = images(1)[0]
    for _ in range(100):
        backend.infer(feed)
    device = backend.pool.device
    with device:
        before, _ = device.memory()
    for _ in range(50):  # a new thread for each, as some servers have it
        with ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: [backend.infer(feed) for _ in range(40)]).result()
    with device:
        after, _ = device.memory()
    assert before - after < 1 << 20


def test_memory_of_the_gpu_goes_in_and_out(backend: OnnxRuntimeCudaBackend) -> None:
    torch: Any = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch sees no GPU")
    with Session(backend, tiny.SPEC) as session:
        for feed in images(3):
            wanted = session.infer(feed)["heatmaps"]
            given = torch.from_numpy(feed["image"]).cuda()
            stream = torch.cuda.current_stream()
            with session.infer_device(given, stream=stream) as result:
                found = torch.from_dlpack(result.outputs["heatmaps"])
                np.testing.assert_array_equal(found.cpu().numpy(), wanted)


def test_a_node_that_the_provider_does_not_take_is_named(tmp_path: Path) -> None:
    """``Det`` has no CUDA kernel in ONNX Runtime."""
    model = tiny.make_model()
    square = onnx.helper.make_node("Slice", ["heatmaps", "zero", "side", "axis"], ["square"])
    node = onnx.helper.make_node("Det", ["square"], ["det"], name="the_determinant")
    model.graph.node.extend([square, node])
    for name, values in (("zero", [0]), ("side", [16]), ("axis", [3])):
        array = np.array(values, np.int64)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    model.graph.output.append(
        onnx.helper.make_tensor_value_info("det", onnx.TensorProto.FLOAT, [1, 3])
    )
    with pytest.raises(BuildError, match="Det"):
        TARGET.build(tiny.save(model, tmp_path), "fp32", tmp_path)


def test_layers_take_time(tmp_path: Path) -> None:
    onnx_path = tiny.save(tiny.make_model(), tmp_path)
    artifact = TARGET.build(onnx_path, "fp32", tmp_path)
    layers = TARGET.profile(artifact, None, images(1)[0])  # type: ignore[arg-type]
    assert any(layer.ms > 0 for layer in layers)


def test_a_bundle_is_compiled_and_verified_on_the_gpu(tmp_path: Path) -> None:
    made = tiny.build_bundle(tmp_path / "cpu.mahtrt")
    bundle = compile(CompileOptions(made, TARGET.name, tmp_path / "gpu.mahtrt")).path
    (replay,) = verify(VerifyOptions(bundle, require="gpu")).replays
    assert replay.engine == "onnxruntime-cuda-fp32"
    assert replay.device.startswith("cuda:0 ")
    with open_session(bundle, require="gpu") as session:
        image, points = tiny.make_image(0)
        np.testing.assert_allclose(session.run(image).points, points, atol=5e-3)


def test_the_context_of_another_library_stays(backend: OnnxRuntimeCudaBackend) -> None:
    """The primary context is everybody's: closing an engine leaves that of others alone."""
    other = open_device(needed_for="a test")
    with other:
        memory = other.allocate(1024)
    feed = images(1)[0]
    backend.infer(feed)
    with other:
        stream = other.create_stream()
        other.fill_zero(memory.address, 1024, stream)
        stream.synchronize()
        stream.close()
        memory.free()
    other.close()
    backend.infer(feed)


def test_records_name_the_card(tmp_path: Path) -> None:
    record = engine_of(tiny.make_model(), "fp32", tmp_path).record
    assert isinstance(record, EngineRecord)
    assert record.device.name
    assert record.device.capabilities[0].startswith("SM")
