"""The device on PyCUDA, by a fake that has its functions, on the driver that checks them."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from copying_engine import SHAPE, CopyingEngine, tensors
from fake_driver import FakeDriver, Kernel
from fake_pycuda import FakePycuda

from mahtrt.cuda import pycuda_device
from mahtrt.cuda.device import CudaError, Launch, Stream
from mahtrt.cuda.pool import SlotPool
from mahtrt.cuda.probe import CudaProbe
from mahtrt.cuda.pycuda_device import PycudaDevice, open_device
from mahtrt.cuda.views import DeviceView, check_view
from mahtrt.errors import InputError, MissingComponentError


@pytest.fixture
def driver() -> Iterator[FakeDriver]:
    made = FakeDriver()
    yield made
    assert made.retained == [1], "until the process ends"
    made.retained = [0]
    made.check()


@pytest.fixture
def pycuda(driver: FakeDriver) -> FakePycuda:
    return FakePycuda(driver)


@pytest.fixture
def device(pycuda: FakePycuda) -> Iterator[PycudaDevice]:
    opened = open_device(needed_for="a test", driver=pycuda)
    with opened:
        yield opened
    opened.close()


@pytest.fixture
def stream(device: PycudaDevice) -> Iterator[Stream]:
    made = device.create_stream()
    yield made
    made.synchronize()
    made.close()


def test_the_device_says_what_it_is(pycuda: FakePycuda, driver: FakeDriver) -> None:
    first, second = (open_device(needed_for="a test", driver=pycuda) for _ in range(2))
    assert (first.name, first.capability, first.multiprocessors) == ("NVIDIA H200", "SM90", 132)
    assert first.api.startswith("pycuda")
    assert "no CUDA graphs" in first.no_graphs
    assert driver.retained == [1], "one retains it for all"
    first.close()
    with second, second:
        second.allocate(4).free()
    second.close()
    with pytest.raises(CudaError, match=r"after close\(\)"), second:
        pass
    with pytest.raises(MissingComponentError, match="device 3 of 1"):
        open_device(needed_for="a test", ordinal=3, driver=pycuda)


def test_without_the_package_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(pycuda_device, "probe_cuda", CudaProbe)
    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(MissingComponentError, match=r"pip install 'mahtrt\[pycuda\]'"):
        open_device(needed_for="engine x")
    monkeypatch.setattr(pycuda_device, "probe_cuda", lambda: CudaProbe(problem="no driver"))
    with pytest.raises(MissingComponentError, match="got no driver"):
        open_device(needed_for="engine x")


@pytest.mark.parametrize("shape", [(3, 5), (), (0, 4)])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8])
def test_copies_there_and_back(
    device: PycudaDevice, stream: Stream, shape: tuple[int, ...], dtype: Any
) -> None:
    there, back = (device.allocate_pinned(shape, dtype) for _ in range(2))
    first, second = (device.allocate(there.array.nbytes) for _ in range(2))
    there.array[...] = np.arange(there.array.size).reshape(shape)
    back.array[...] = 99
    if there.array.size:
        device.copy_to_device(first.address, there.array, stream)
        device.copy_on_device(second.address, first.address, first.nbytes, stream)
        device.copy_to_host(back.array, second.address, stream)
        stream.synchronize()
    np.testing.assert_array_equal(back.array, there.array)
    assert (back.array.shape, back.array.dtype) == (shape, dtype)
    for memory in (there, back, first, second):
        memory.free()
        memory.free()


def test_errors_are_told_as_ours(device: PycudaDevice, driver: FakeDriver) -> None:
    with pytest.raises(CudaError, match=r"cuMemAlloc: got error 2 \(out of memory\)") as caught:
        device.allocate(2 << 30)
    assert caught.value.is_out_of_memory
    assert "1024 of 1024 MiB are free" in caught.value.fix
    with pytest.raises(CudaError, match="its log: ptxas error : BROKEN"):
        device.load(b"BROKEN")
    driver.fail("cuMemAlloc", 12345)
    with pytest.raises(CudaError, match=r"999 \(unknown error\)"):
        device.allocate(4)
    with pytest.raises(CudaError, match="strides"):
        device.copy_to_device(4096, np.zeros((4, 4))[:, 1:], device.create_stream())
    assert device.memory() == (1 << 30, 1 << 30)

    def too_large(*_: Any) -> None:
        raise OverflowError("can't convert\nto an unsigned int")

    with pytest.raises(CudaError, match="PyCUDA: got can't convert to an unsigned") as caught:
        device._calls.call(too_large)
    assert caught.value.code == 0


def test_a_lost_device_says_so(pycuda: FakePycuda, driver: FakeDriver) -> None:
    opened = open_device(needed_for="a test", driver=pycuda)
    with opened:
        driver.fail("cuMemAlloc", 700)
        with pytest.raises(CudaError, match="start it again") as caught:
            opened.allocate(4)
        assert caught.value.loses_device
        with pytest.raises(CudaError, match="700"):
            opened.fill_zero(4096, 4, opened.adopt_stream(0))
        driver.lost = 0


def test_events_order_two_streams(device: PycudaDevice, stream: Stream) -> None:
    other = device.create_stream()
    memory, back = device.allocate(8), device.allocate_pinned((8,), np.uint8)
    back.array[...] = 1
    event, start, end = (device.create_event(timed=timed) for timed in (False, True, True))
    start.record(other)
    device.fill_zero(memory.address, 8, other)
    event.record(other)
    assert not event.is_done()
    stream.wait(event)
    device.copy_to_host(back.array, memory.address, stream)
    stream.synchronize()
    assert not back.array.any()
    assert event.is_done()
    end.record(other)
    end.synchronize()
    assert end.elapsed_ms(start) >= 1.0
    for each in (event, start, end, other):
        each.close()
    memory.free()
    back.free()


def test_there_are_no_graphs(device: PycudaDevice, stream: Stream) -> None:
    with pytest.raises(CudaError, match="PyCUDA records no CUDA graphs"):
        device.record(stream, lambda: None)


def test_kernels_run_with_their_arguments(
    device: PycudaDevice, stream: Stream, driver: FakeDriver
) -> None:
    def scaled(memory: Any, grid: Any, block: Any, place: int, count: int, factor: float) -> None:
        memory.array(place, (count,), np.float32)[...] *= factor

    types = (ctypes.c_void_p, ctypes.c_int, ctypes.c_float)
    driver.kernels = {"scale": Kernel(types, scaled), "nothing": Kernel((), lambda *_: None)}
    module = device.load(b".entry scale .entry nothing")
    memory, host = device.allocate(16), device.allocate_pinned((4,), np.float32)
    host.array[...] = (1, 2, 3, 4)
    device.copy_to_device(memory.address, host.array, stream)
    arguments = (ctypes.c_void_p(memory.address), ctypes.c_int(3), ctypes.c_float(0.5))
    launch = Launch("scale", (1, 1, 1), (32, 1, 1), arguments)
    device.launch(module.function("scale"), launch, stream)
    nothing = Launch("nothing", (1, 1, 1), (1, 1, 1), ())
    device.launch(module.function("nothing"), nothing, stream)
    device.copy_to_host(host.array, memory.address, stream)
    stream.synchronize()
    assert host.array.tolist() == [0.5, 1, 1.5, 4]
    with pytest.raises(CudaError, match="named symbol not found"):
        module.function("missing")
    module.unload()
    memory.free()
    host.free()


def test_streams_of_pycuda_come_in(device: PycudaDevice, pycuda: Any) -> None:
    theirs = pycuda.Stream(1)
    adopted = device.adopt_stream(theirs)
    assert adopted.handle == theirs.handle
    adopted.synchronize()
    adopted.close()
    with pytest.raises(AttributeError):
        adopted.synchronize()
    theirs.synchronize()
    default, memory = device.adopt_stream(0), device.allocate(4)
    device.fill_zero(memory.address, 4, default)
    event = device.create_event()
    event.record(default)
    default.synchronize()
    assert event.is_done()
    default.wait(event)
    memory.free()
    for handle in (0x7777, 2):
        with pytest.raises(CudaError, match=r"of another library.*pycuda\.driver\.Stream"):
            device.adopt_stream(handle)


def test_memory_of_pycuda_is_looked_at(device: PycudaDevice, pycuda: FakePycuda) -> None:
    theirs = pycuda.mem_alloc(64)
    found = device.look_up(int(theirs) + 8)
    assert (found.kind, found.device, found.start) == ("device", 0, int(theirs))
    assert found.bytes_from(int(theirs) + 8) == 56
    view = DeviceView(int(theirs), SHAPE, np.dtype(np.float32), owner=theirs)
    check_view(view, device, SHAPE, np.float32)
    theirs.free()
    with pytest.raises(InputError, match="the driver does not know"):
        check_view(view, device, SHAPE, np.float32)
    assert device.look_up(0).kind == "unknown"


def test_inferences_in_slots_without_graphs(
    pycuda: FakePycuda, driver: FakeDriver, device: PycudaDevice
) -> None:
    own = open_device(needed_for="a test", driver=pycuda)
    pool = SlotPool("copy", own, tensors(), lambda: CopyingEngine(driver))
    for value in range(4):
        found = pool.infer({"image": np.full(SHAPE, value, np.float32)}, ("spread",))
        assert (found["spread"] == value).all()
    assert "PyCUDA records no CUDA graphs" in pool.problem
    theirs, memory = pycuda.Stream(1), pycuda.mem_alloc(24)  # type: ignore[attr-defined]
    seven = np.full(SHAPE, 7, np.float32)
    pycuda.memcpy_htod_async(memory, seven, theirs)
    image = (memory, SHAPE, np.float32)
    back = np.zeros(SHAPE, np.float32)
    with pool.infer_device({"image": image}, stream=theirs) as result:
        pycuda.memcpy_dtoh_async(back, result.outputs["spread"].address, theirs)
        theirs.synchronize()
    assert (back == 7).all()
    pool.close()
    memory.free()


def test_a_stream_of_its_own_is_known_by_its_handle(device: PycudaDevice) -> None:
    stream = device.create_stream()
    handle = stream.handle
    adopted = device.adopt_stream(handle)
    assert adopted.stream is stream.stream
    adopted.close()
    stream.synchronize()
    assert device.adopt_stream(handle).handle == handle
    stream.close()
    with pytest.raises(CudaError, match="of another library"):
        device.adopt_stream(handle)
