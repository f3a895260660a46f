"""The device on ``cuda-bindings``, by a driver that checks how it is used."""

from __future__ import annotations

import ctypes
import gc
import inspect
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from fake_driver import FakeDriver, FakeGpuModel, Kernel

from mahtrt.cuda.bindings import BindingsDevice, open_device
from mahtrt.cuda.collecting import no_collection
from mahtrt.cuda.device import STICKY, CudaError, Launch, Stream
from mahtrt.errors import MissingComponentError


@pytest.fixture
def driver() -> Iterator[FakeDriver]:
    """A driver on which everything has to be given back."""
    made = FakeDriver()
    yield made
    made.check()


@pytest.fixture
def device(driver: FakeDriver) -> Iterator[BindingsDevice]:
    with open_device(needed_for="a test", driver=driver) as opened:
        yield opened
    opened.close()


@pytest.fixture
def stream(device: BindingsDevice) -> Iterator[Stream]:
    made = device.create_stream()
    yield made
    made.synchronize()
    made.close()


def doubled(memory: Any, grid: Any, block: Any, address: int, count: int) -> None:
    memory.array(address, (count,), np.float32)[...] *= 2


DOUBLE = Kernel((ctypes.c_void_p, ctypes.c_int), doubled)


def test_the_device_says_what_it_is(driver: FakeDriver) -> None:
    opened = open_device(needed_for="a test", driver=driver)
    assert (opened.name, opened.capability, opened.multiprocessors) == ("NVIDIA H200", "SM90", 132)
    assert (opened.ordinal, opened.no_graphs) == (0, "")
    assert opened.api.startswith("cuda-bindings")
    assert driver.retained == [1]
    opened.close()
    opened.close()
    with pytest.raises(CudaError, match=r"after close\(\)"), opened:
        pass


def test_another_gpu_and_one_that_is_not_there(driver: FakeDriver) -> None:
    two = FakeDriver(gpus=(FakeGpuModel(), FakeGpuModel("NVIDIA L4", (8, 9), 58)))
    second = open_device(needed_for="a test", ordinal=1, driver=two)
    assert (second.name, second.capability, two.retained) == ("NVIDIA L4", "SM89", [0, 1])
    second.close()
    for ordinal in (-1, 1):
        with pytest.raises(MissingComponentError, match=rf"device {ordinal} of 1"):
            open_device(needed_for="a test", ordinal=ordinal, driver=driver)


def test_without_a_driver_the_message_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from mahtrt.cuda import bindings
    from mahtrt.cuda.probe import CudaProbe

    monkeypatch.setattr(bindings, "probe_cuda", lambda: CudaProbe(problem="no NVIDIA driver"))
    with pytest.raises(MissingComponentError, match=r"engine x: got no NVIDIA driver.*GPU"):
        open_device(needed_for="engine x")


def test_without_the_package_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    from mahtrt.cuda import bindings
    from mahtrt.cuda.probe import CudaProbe

    def absent(name: str) -> Any:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(bindings, "probe_cuda", CudaProbe)
    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(MissingComponentError, match=r"pip install 'mahtrt\[gpu\]'"):
        open_device(needed_for="engine x")


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8, np.uint16, np.int64])
def test_copies_there_and_back(device: BindingsDevice, stream: Stream, dtype: Any) -> None:
    there, back = (device.allocate_pinned((3, 5), dtype) for _ in range(2))
    first, second = device.allocate(there.array.nbytes), device.allocate(there.array.nbytes)
    there.array[...] = np.arange(15).reshape(3, 5)
    back.array[...] = 0
    device.copy_to_device(first.address, there.array, stream)
    device.copy_on_device(second.address, first.address, first.nbytes, stream)
    device.copy_to_host(back.array, second.address, stream)
    assert not back.array.any(), "nothing is done before somebody waits"
    stream.synchronize()
    np.testing.assert_array_equal(back.array, np.arange(15).reshape(3, 5))
    assert back.array.dtype == dtype
    device.fill_zero(second.address, 3 * back.array.itemsize, stream)
    device.copy_to_host(back.array, second.address, stream)
    stream.synchronize()
    assert back.array[0].tolist() == [0, 0, 0, 3, 4]
    for memory in (there, back, first, second):
        memory.free()
        memory.free()
    assert there.array.size == 0


def test_an_array_with_strides_is_not_copied(device: BindingsDevice, stream: Stream) -> None:
    memory = device.allocate(64)
    with pytest.raises(CudaError, match="strides"):
        device.copy_to_device(memory.address, np.zeros((4, 4), np.float32).T[1:], stream)
    memory.free()


def test_memory_of_no_bytes_can_be_asked_for(device: BindingsDevice) -> None:
    memory, pinned = device.allocate(0), device.allocate_pinned((0, 4), np.float32)
    assert memory.nbytes == 0
    assert memory.address
    assert pinned.array.shape == (0, 4)
    memory.free()
    pinned.free()


def test_out_of_memory_tells_what_is_free(device: BindingsDevice, driver: FakeDriver) -> None:
    with pytest.raises(CudaError) as caught:
        device.allocate(2 << 30)
    assert caught.value.is_out_of_memory
    assert not caught.value.loses_device
    assert "cuMemAlloc" in str(caught.value)
    assert "2 (CUDA_ERROR_OUT_OF_MEMORY: out of memory)" in str(caught.value)
    assert "1024 of 1024 MiB are free" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert device.memory() == (1 << 30, 1 << 30)


def test_a_lost_device_says_so(driver: FakeDriver) -> None:
    opened = open_device(needed_for="a test", driver=driver)
    with opened:
        stream = opened.create_stream()
        driver.fail("cuStreamSynchronize", 700)
        with pytest.raises(CudaError, match=r"ILLEGAL_ADDRESS.*start it again") as caught:
            stream.synchronize()
        assert caught.value.loses_device
        with pytest.raises(CudaError, match="700"):
            opened.allocate(4)
        with pytest.raises(CudaError, match="700"):
            stream.close()
        driver.lost = 0  # so that the context can be put back without an error
    opened.close()


def test_an_unknown_code_is_told_by_its_number(device: BindingsDevice, driver: FakeDriver) -> None:
    driver.fail("cuMemAlloc", 12345)
    with pytest.raises(CudaError, match=r"error 12345 \(unknown: unknown\)"):
        device.allocate(4)
    assert device.look_up(0).kind == "unknown"


def test_what_the_package_raises_is_an_error_of_the_call(device: BindingsDevice) -> None:
    class Old:
        def cuMemAlloc(self, nbytes: int) -> None:  # noqa: N802
            raise RuntimeError('Function "cuMemAlloc" not found')

    from mahtrt.cuda.bindings_handles import Driver

    with pytest.raises(CudaError, match=r"cuMemAlloc: got RuntimeError.*not found"):
        Driver(Old()).call("cuMemAlloc", 4)
    with pytest.raises(CudaError, match="cuNothing"):
        Driver(Old()).call("cuNothing")


def test_the_context_is_put_back_in_every_thread(driver: FakeDriver) -> None:
    opened = open_device(needed_for="a test", driver=driver)
    found: list[str] = []

    def use() -> None:
        with opened, opened:
            opened.allocate(4).free()
        try:
            opened.allocate(4)
        except CudaError as error:
            found.append(str(error))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all("INVALID_CONTEXT" in text for text in found)
    driver.violations.clear()
    opened.close()


def test_the_first_error_is_the_one_that_is_told(driver: FakeDriver) -> None:
    opened = open_device(needed_for="a test", driver=driver)
    driver.fail("cuCtxPopCurrent", 999)
    with pytest.raises(ValueError, match="first"), opened:
        raise ValueError("first")
    driver.fail("cuCtxPopCurrent", 999)
    with pytest.raises(CudaError, match="cuCtxPopCurrent"), opened:
        pass
    opened.close()


def test_events_order_two_streams(device: BindingsDevice, stream: Stream) -> None:
    other = device.create_stream()
    memory, back = device.allocate(8), device.allocate_pinned((8,), np.uint8)
    back.array[...] = 1
    event, start, end = (device.create_event(timed=timed) for timed in (False, True, True))
    start.record(other)
    device.fill_zero(memory.address, 8, other)
    event.record(other)
    end.record(other)
    assert not event.is_done()
    stream.wait(event)
    device.copy_to_host(back.array, memory.address, stream)
    stream.synchronize()
    assert not back.array.any()
    assert event.is_done()
    event.synchronize()
    end.synchronize()
    assert end.elapsed_ms(start) >= 1.0
    for each in (event, start, end, other):
        each.close()
    memory.free()
    back.free()


def test_an_untimed_event_tells_no_time(
    device: BindingsDevice, stream: Stream, driver: FakeDriver
) -> None:
    first, second = device.create_event(), device.create_event()
    for event in (first, second):
        event.record(stream)
    stream.synchronize()
    with pytest.raises(CudaError, match="INVALID_HANDLE"):
        second.elapsed_ms(first)
    first.close()
    second.close()
    driver.violations.clear()


def test_a_graph_does_what_was_recorded(device: BindingsDevice, stream: Stream) -> None:
    memory, pinned = device.allocate(8), device.allocate_pinned((8,), np.uint8)

    def work() -> None:
        device.copy_to_device(memory.address, pinned.array, stream)
        device.fill_zero(memory.address, 4, stream)
        device.copy_to_host(pinned.array, memory.address, stream)

    pinned.array[...] = 1
    graph = device.record(stream, work)
    stream.synchronize()
    assert pinned.array.all(), "recording does nothing"
    for value in (2, 3):
        pinned.array[...] = value
        graph.launch(stream)
        stream.synchronize()
        assert pinned.array.tolist() == [0] * 4 + [value] * 4
    for each in (graph, graph):
        each.close()
    memory.free()
    pinned.free()


def usable(device: BindingsDevice, stream: Stream) -> bool:
    memory, back = device.allocate(4), device.allocate_pinned((4,), np.uint8)
    back.array[...] = 1
    device.fill_zero(memory.address, 4, stream)
    device.copy_to_host(back.array, memory.address, stream)
    stream.synchronize()
    done = not back.array.any()
    memory.free()
    back.free()
    return done


def test_the_stream_works_after_a_recording_that_raised(
    device: BindingsDevice, stream: Stream
) -> None:
    def work() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        device.record(stream, work)
    assert usable(device, stream)


@pytest.mark.parametrize("call", ["allocate", "synchronize", "is_done", "legacy"])
def test_what_cannot_be_recorded_is_told(
    device: BindingsDevice, stream: Stream, driver: FakeDriver, call: str
) -> None:
    event, memory = device.create_event(), device.allocate(4)
    works: dict[str, Callable[[], Any]] = {
        "allocate": lambda: device.allocate(4),
        "synchronize": stream.synchronize,
        "is_done": event.is_done,
        "legacy": lambda: device.fill_zero(memory.address, 4, device.adopt_stream(0)),
    }
    with pytest.raises(CudaError):
        device.record(stream, works[call])
    assert driver.violations
    driver.violations.clear()

    def swallowed() -> None:
        with pytest.raises(CudaError):
            works[call]()

    with pytest.raises(CudaError, match=r"cuStreamEndCapture.*INVALIDATED"):
        device.record(stream, swallowed)
    driver.violations.clear()
    assert usable(device, stream)
    event.close()
    memory.free()


class Cycle:
    """What frees memory of a GPU when it is collected, and only then."""

    def __init__(self, device: BindingsDevice) -> None:
        self.memory, self.itself = device.allocate(4), self

    def __del__(self) -> None:
        self.memory.free()


def test_garbage_of_others_is_not_collected_during_a_recording(
    device: BindingsDevice, stream: Stream
) -> None:
    Cycle(device)
    threshold = gc.get_threshold()

    def work() -> None:
        gc.set_threshold(1)  # the next containers that are made would have it collected
        assert len([[] for _ in range(100)]) == 100

    try:
        device.record(stream, work).close()
    finally:
        gc.set_threshold(*threshold)
    assert gc.isenabled()
    gc.collect()


def test_collection_is_put_back_as_it_was() -> None:
    with no_collection():
        with no_collection():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with pytest.raises(ValueError, match="mine"), no_collection():
            raise ValueError("mine")
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize("call", ["BeginCapture", "EndCapture"])
def test_a_refused_recording_leaves_the_stream_usable(
    device: BindingsDevice, stream: Stream, driver: FakeDriver, call: str
) -> None:
    driver.fail(f"cuStream{call}", 900)
    with pytest.raises(CudaError, match="CAPTURE_UNSUPPORTED"):
        device.record(stream, lambda: None)
    assert usable(device, stream)


def test_a_graph_that_cannot_be_made_leaks_nothing(
    device: BindingsDevice, stream: Stream, driver: FakeDriver
) -> None:
    driver.fail("cuGraphInstantiate", 2)
    with pytest.raises(CudaError, match=r"cuGraphInstantiate.*MiB are free"):
        device.record(stream, lambda: None)
    assert usable(device, stream)


def test_kernels_run_with_their_arguments(
    device: BindingsDevice, stream: Stream, driver: FakeDriver
) -> None:
    driver.kernels = {"double_it": DOUBLE, "nothing": Kernel((), lambda *_: None)}
    module = device.load(b".entry double_it .entry nothing")
    memory, host = device.allocate(16), device.allocate_pinned((4,), np.float32)
    host.array[...] = (1, 2, 3, 4)
    device.copy_to_device(memory.address, host.array, stream)
    arguments = (ctypes.c_void_p(memory.address), ctypes.c_int(3))
    launch = Launch("double_it", (1, 1, 1), (32, 1, 1), arguments)
    device.launch(module.function("double_it"), launch, stream)
    plain = module.function("nothing")
    assert plain.name == "nothing"
    device.launch(plain, Launch("nothing", (1, 1, 1), (1, 1, 1), ()), stream)
    device.copy_to_host(host.array, memory.address, stream)
    stream.synchronize()
    assert host.array.tolist() == [2, 4, 6, 4]
    with pytest.raises(CudaError, match=r"cuModuleGetFunction.*NOT_FOUND"):
        module.function("missing")
    for _ in range(2):
        module.unload()
    memory.free()
    host.free()


def test_the_log_of_the_driver_is_told(device: BindingsDevice) -> None:
    with pytest.raises(CudaError) as caught:
        device.load(b"BROKEN")
    assert "INVALID_PTX" in str(caught.value)
    assert "its log: ptxas error : BROKEN is no instruction" in str(caught.value)


def test_what_the_driver_knows_of_addresses(device: BindingsDevice, driver: FakeDriver) -> None:
    memory, pinned = device.allocate(64), device.allocate_pinned((16,), np.uint8)
    inside = device.look_up(memory.address + 60)
    assert (inside.kind, inside.device, inside.start) == ("device", 0, memory.address)
    assert inside.bytes_from(memory.address + 60) == 4
    assert device.look_up(pinned.array.ctypes.data).kind == "host"
    assert device.look_up(pinned.array.ctypes.data).device is None
    for wrong in (0, -1, 8, 2**64, np.zeros(4).ctypes.data):
        assert device.look_up(wrong).kind == "unknown"
    managed = driver.foreign(8, managed=True)
    assert device.look_up(managed).kind == "managed"
    driver.drop(managed)
    place = memory.address
    memory.free()
    pinned.free()
    assert device.look_up(place).kind == "unknown"


class CudaCore:
    def __init__(self, handle: int) -> None:
        self.handle_ = handle

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.handle_


class Attribute:
    def __init__(self, name: str, handle: int) -> None:
        setattr(self, name, handle)


def test_streams_of_others_come_in(device: BindingsDevice, driver: FakeDriver) -> None:
    handle = driver.foreign_stream()
    forms = [handle, CudaCore(handle)]
    forms += [Attribute(name, handle) for name in ("cuda_stream", "ptr", "handle")]
    for form in forms:
        adopted = device.adopt_stream(form)
        assert adopted.handle == handle
        adopted.synchronize()
        adopted.close()
    assert [device.adopt_stream(number).handle for number in (0, 1, 2)] == [0, 1, 2]
    assert handle in driver.scheduler.streams, "a stream of the caller's is left alone"
    del driver.scheduler.streams[handle]


@pytest.mark.parametrize("wrong", [None, True, -1, 3, 2**64, "7", object(), 1.5])
def test_what_is_no_stream_is_refused(device: BindingsDevice, wrong: Any) -> None:
    with pytest.raises(CudaError, match="as a stream"):
        device.adopt_stream(wrong)


def test_a_stream_of_another_context_is_refused(device: BindingsDevice, driver: FakeDriver) -> None:
    handle = driver.foreign_stream(context=0x9999)
    with pytest.raises(CudaError, match="of another context; expected one of the primary context"):
        device.adopt_stream(handle)
    del driver.scheduler.streams[handle]


def test_codes_that_lose_a_device_are_those_of_the_documentation() -> None:
    real = pytest.importorskip("cuda.bindings.driver")
    told = {
        int(code)
        for code in real.CUresult
        if any(
            text in " ".join((code.__doc__ or "").split())
            for text in ("must be terminated and relaunched", "cannot be used anymore")
        )
    }
    if not told:
        pytest.skip("this cuda-bindings does not document its codes")
    external = 911  # an error outside of the GPU, which may also be that of one call
    assert told - {external} <= STICKY


def parameters(function: Any) -> int:
    """How many the real package's function takes: its docstring begins with them."""
    listed = re.findall(r"\((.*)\)", function.__doc__.partition("\n")[0])[0]
    inside = re.sub(r"\[[^\]]*\]|\[|\]", "", listed)
    return len([part for part in inside.split(",") if part.strip()])


def test_the_fake_has_the_signatures_of_the_package() -> None:
    real = pytest.importorskip("cuda.bindings.driver")
    names = [name for name in dir(FakeDriver) if name.startswith("do_")]
    assert len(names) > 35
    for name in names:
        ours = inspect.signature(getattr(FakeDriver, name)).parameters
        theirs = getattr(real, name[3:])
        count = parameters(theirs)
        rest = any(each.kind is each.VAR_POSITIONAL for each in ours.values())
        assert rest or len(ours) - 1 == count, name
    enumerations = ("CUdevice_attribute", "CUstreamCaptureMode", "CUjit_option")
    for enumeration in (*enumerations, "CUpointer_attribute"):
        for member in getattr(FakeDriver, enumeration):
            assert int(getattr(getattr(real, enumeration), member.name)) == int(member)
