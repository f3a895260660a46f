"""What every device does, the fake ones and the real ones, through each package that is there."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from copying_engine import SHAPE, tensors
from fake_driver import FakeDriver, Kernel
from fake_pycuda import FakePycuda

from mahtrt.cuda import bindings, pycuda_device
from mahtrt.cuda.apis import APIS, open_device
from mahtrt.cuda.device import CudaDevice, CudaError, Launch, Stream
from mahtrt.cuda.pool import SlotPool
from mahtrt.cuda.probe import probe_cuda
from mahtrt.cuda.views import check_view, device_view
from mahtrt.errors import InputError, MahtrtError

PTX = b"""
.version 7.0
.target sm_75
.address_size 64
.visible .entry scale(.param .u64 place, .param .s32 count, .param .f32 factor)
{
    .reg .pred %p1;
    .reg .b32 %r<5>;
    .reg .f32 %f<3>;
    .reg .b64 %rd<5>;
    ld.param.u64 %rd1, [place];
    ld.param.s32 %r1, [count];
    ld.param.f32 %f1, [factor];
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %ntid.x;
    mov.u32 %r4, %tid.x;
    mad.lo.s32 %r2, %r2, %r3, %r4;
    setp.ge.s32 %p1, %r2, %r1;
    @%p1 bra DONE;
    cvta.to.global.u64 %rd2, %rd1;
    mul.wide.s32 %rd3, %r2, 4;
    add.s64 %rd4, %rd2, %rd3;
    ld.global.f32 %f2, [%rd4];
    mul.f32 %f2, %f2, %f1;
    st.global.f32 [%rd4], %f2;
DONE:
    ret;
}
"""


@dataclass
class Bench:
    """A device that is entered, and what to look at afterwards.

    Attributes:
        driver: The fake under it; None on a real GPU.
    """

    device: CudaDevice
    driver: FakeDriver | None = None

    def misused(self) -> None:
        """What came before was misuse on purpose."""
        if self.driver is not None:
            self.driver.violations.clear()


def scaled(memory: Any, grid: Any, block: Any, place: int, count: int, factor: float) -> None:
    memory.array(place, (count,), np.float32)[...] *= factor


def fake(api: str) -> Bench:
    driver = FakeDriver()
    types = (ctypes.c_void_p, ctypes.c_int, ctypes.c_float)
    driver.kernels = {"scale": Kernel(types, scaled)}
    if api == "pycuda":
        under = FakePycuda(driver)
        return Bench(pycuda_device.open_device(needed_for="a test", driver=under), driver)
    return Bench(bindings.open_device(needed_for="a test", driver=driver), driver)


def real(api: str) -> Bench:
    problem = probe_cuda().problem
    if problem:
        pytest.skip(problem)
    pytest.importorskip(APIS[api].package)
    return Bench(open_device(needed_for="a test", api=api))


KINDS = [
    *(pytest.param((fake, api), id=f"fake {api}") for api in APIS),
    *(pytest.param((real, api), id=api, marks=pytest.mark.gpu) for api in APIS),
]


@pytest.fixture(params=KINDS)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    make, api = request.param
    made: Bench = make(api)
    with made.device:
        yield made
    made.device.close()
    if made.driver is not None:
        made.driver.retained = [0]  # through PyCUDA the context stays with the process
        made.driver.check()


@pytest.fixture
def device(bench: Bench) -> CudaDevice:
    return bench.device


@pytest.fixture
def stream(device: CudaDevice) -> Iterator[Stream]:
    made = device.create_stream()
    yield made
    made.synchronize()
    made.close()


def test_it_says_what_it_is(device: CudaDevice) -> None:
    assert device.name.startswith("NVIDIA")
    assert device.capability.startswith("SM")
    assert device.multiprocessors > 0
    assert device.ordinal == 0
    free, total = device.memory()
    assert 0 < free <= total
    assert device.api.startswith(("cuda-bindings", "pycuda"))


def test_numbers_go_there_and_back(device: CudaDevice, stream: Stream) -> None:
    there, back = (device.allocate_pinned((3, 1000), np.float16) for _ in range(2))
    first, second = (device.allocate(there.array.nbytes) for _ in range(2))
    there.array[...] = np.arange(3000).reshape(3, 1000) / 8
    device.copy_to_device(first.address, there.array, stream)
    device.copy_on_device(second.address, first.address, first.nbytes, stream)
    device.fill_zero(second.address, 20, stream)
    device.copy_to_host(back.array, second.address, stream)
    stream.synchronize()
    assert not back.array[0, :10].any()
    np.testing.assert_array_equal(back.array.flat[10:], there.array.flat[10:])
    for memory in (there, back, first, second):
        memory.free()
        memory.free()


def test_events_order_streams_and_tell_times(device: CudaDevice, stream: Stream) -> None:
    other, memory = device.create_stream(), device.allocate(1 << 20)
    back = device.allocate_pinned((1 << 20,), np.uint8)
    back.array[...] = 1
    marks = [device.create_event(timed=timed) for timed in (True, True, False)]
    marks[0].record(other)
    device.fill_zero(memory.address, 1 << 20, other)
    marks[1].record(other)
    marks[2].record(other)
    stream.wait(marks[2])
    device.copy_to_host(back.array, memory.address, stream)
    stream.synchronize()
    assert not back.array.any()
    marks[1].synchronize()
    assert all(mark.is_done() for mark in marks)
    assert 0 < marks[1].elapsed_ms(marks[0]) < 10_000
    for mark in marks:
        mark.close()
    other.close()
    memory.free()
    back.free()


def test_an_untimed_event_tells_no_time(bench: Bench, stream: Stream) -> None:
    events = [bench.device.create_event() for _ in range(2)]
    for event in events:
        event.record(stream)
    stream.synchronize()
    with pytest.raises(CudaError):
        events[1].elapsed_ms(events[0])
    for event in events:
        event.close()
    bench.misused()


def test_a_kernel_takes_its_arguments(device: CudaDevice, stream: Stream) -> None:
    module = device.load(PTX)
    memory, host = device.allocate(4000), device.allocate_pinned((1000,), np.float32)
    host.array[...] = np.arange(1000)
    device.copy_to_device(memory.address, host.array, stream)
    arguments = (ctypes.c_void_p(memory.address), ctypes.c_int(999), ctypes.c_float(0.5))
    launch = Launch("scale", (8, 1, 1), (128, 1, 1), arguments)
    device.launch(module.function("scale"), launch, stream)
    device.copy_to_host(host.array, memory.address, stream)
    stream.synchronize()
    assert (host.array[:999] == np.arange(999) / 2).all()
    assert host.array[999] == 999
    with pytest.raises(CudaError, match="not found"):
        module.function("missing")
    module.unload()
    memory.free()
    host.free()


def test_what_is_no_code_is_refused(device: CudaDevice) -> None:
    with pytest.raises(CudaError) as caught:
        device.load(b".version 7.0\n.target sm_75\nBROKEN")
    assert "\n" not in str(caught.value)
    assert "log" in str(caught.value)


def recorded(bench: Bench) -> CudaDevice:
    if bench.device.no_graphs:
        pytest.skip(bench.device.no_graphs)
    return bench.device


def test_a_graph_is_replayed(bench: Bench, stream: Stream) -> None:
    device = recorded(bench)
    memory, host = device.allocate(16), device.allocate_pinned((16,), np.uint8)

    def work() -> None:
        device.copy_to_device(memory.address, host.array, stream)
        device.fill_zero(memory.address, 4, stream)
        device.copy_to_host(host.array, memory.address, stream)

    graph = device.record(stream, work)
    for value in (1, 2, 3):
        host.array[...] = value
        graph.launch(stream)
        stream.synchronize()
        assert host.array.tolist() == [0] * 4 + [value] * 12
    graph.close()
    memory.free()
    host.free()


def test_a_stream_works_after_each_recording_that_failed(bench: Bench, stream: Stream) -> None:
    device = recorded(bench)
    memory, back = device.allocate(4), device.allocate_pinned((4,), np.uint8)

    def raises() -> None:
        device.fill_zero(memory.address, 4, stream)
        raise ValueError("mine")

    def waits() -> None:
        stream.synchronize()

    def waits_quietly() -> None:
        with pytest.raises(CudaError):
            stream.synchronize()

    for work, error in ((raises, ValueError), (waits, CudaError), (waits_quietly, CudaError)):
        with pytest.raises(error):
            device.record(stream, work)
        back.array[...] = 1
        device.fill_zero(memory.address, 4, stream)
        device.copy_to_host(back.array, memory.address, stream)
        stream.synchronize()
        assert not back.array.any()
    bench.misused()
    memory.free()
    back.free()


def test_addresses_are_known_as_far_as_they_are(device: CudaDevice) -> None:
    memory, pinned = device.allocate(1 << 16), device.allocate_pinned((64,), np.uint8)
    found = device.look_up(memory.address + 1000)
    assert (found.kind, found.device) == ("device", 0)
    assert found.start <= memory.address
    assert found.bytes_from(memory.address) >= 1 << 16
    assert device.look_up(pinned.array.ctypes.data).kind in ("host", "unknown")
    for wrong in (0, 64, np.zeros(4).ctypes.data):
        assert device.look_up(wrong).kind == "unknown"
    place = memory.address
    memory.free()
    pinned.free()
    view = device_view((place, (4,), np.float32))
    if device.look_up(place).kind == "unknown":  # as far as the driver can tell
        with pytest.raises(InputError, match="does not know"):
            check_view(view, device, (4,), np.float32)


def test_too_much_memory_is_one_clear_error(device: CudaDevice) -> None:
    _, total = device.memory()
    with pytest.raises(CudaError, match=r"MiB are free") as caught:
        device.allocate(total * 2)
    assert caught.value.is_out_of_memory
    device.allocate(4).free()


def test_threads_enter_and_leave(bench: Bench) -> None:
    device, wrong = bench.device, list[BaseException]()

    def work() -> None:
        try:
            for value in range(20):
                with device:
                    stream, memory = device.create_stream(), device.allocate(64)
                    host = device.allocate_pinned((64,), np.uint8)
                    host.array[...] = value
                    device.copy_to_device(memory.address, host.array, stream)
                    stream.synchronize()
                    host.array[...] = 0
                    device.copy_to_host(host.array, memory.address, stream)
                    stream.synchronize()
                    assert (host.array == value).all()
                    host.free()
                    memory.free()
                    stream.close()
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


class DoublingEngine:
    """Copies its input to both outputs, and doubles one by a kernel."""

    def __init__(self, device: CudaDevice) -> None:
        self.device, self.module = device, device.load(PTX)
        self.function = self.module.function("scale")
        self.stream: Stream | None = None

    def prepare(self, addresses: Any, stream: int) -> None:
        pass

    def enqueue(self, addresses: Any, stream: int) -> None:
        assert self.stream is not None
        assert self.stream.handle == stream
        for name in ("landmarks", "spread"):
            self.device.copy_on_device(addresses[name], addresses["image"], 24, self.stream)
        place = ctypes.c_void_p(addresses["spread"])
        arguments = (place, ctypes.c_int(6), ctypes.c_float(2))
        launch = Launch("scale", (1, 1, 1), (32, 1, 1), arguments)
        self.device.launch(self.function, launch, self.stream)

    def close(self) -> None:
        self.function = None  # type: ignore[assignment]
        self.module.unload()


def test_a_pool_of_slots(bench: Bench) -> None:
    """Host and device inferences by turns, recorded where that can be."""
    api = "pycuda" if bench.device.no_graphs else "cuda-bindings"
    if bench.driver is None:
        own = open_device(needed_for="a test", api=api)
    elif api == "pycuda":
        own = pycuda_device.open_device(needed_for="a test", driver=bench.device._driver)  # type: ignore[attr-defined]
    else:
        own = bindings.open_device(needed_for="a test", driver=bench.driver)
    pool = SlotPool("doubling", own, tensors(), lambda: DoublingEngine(own))
    with pool.slot() as slot:
        engine: Any = slot.engine
        engine.stream = slot.stream
    memory = bench.device.allocate(24)
    host = bench.device.allocate_pinned(SHAPE, np.float32)
    theirs = bench.device.create_stream()
    for value in range(6):
        feed = {"image": np.full(SHAPE, value, np.float32)}
        found = pool.infer(feed, ("landmarks", "spread"))
        assert (found["landmarks"] == value).all()
        assert (found["spread"] == 2 * value).all()
        host.array[...] = value + 100
        bench.device.copy_to_device(memory.address, host.array, theirs)
        stream = getattr(theirs, "stream", theirs.handle)  # PyCUDA takes its own only
        image = (memory.address, SHAPE, np.float32)
        with pool.infer_device({"image": image}, stream=stream) as result:
            place = result.outputs["spread"].address
            bench.device.copy_to_host(host.array, place, theirs)
        theirs.synchronize()
        assert (host.array == 2 * (value + 100)).all()
    assert pool.problem == bench.device.no_graphs
    assert pool.made == 1
    with pytest.raises(MahtrtError, match="memory for nothing"):
        pool.infer_device({})
    for each in (memory, host):
        each.free()
    theirs.close()
    pool.close()
