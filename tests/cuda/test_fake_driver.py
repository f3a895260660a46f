"""The fake driver sees what it is there to see."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from fake_driver import FakeDriver
from fake_driver_memory import MisuseError
from fake_driver_streams import Order

from mahtrt.cuda.bindings import BindingsDevice, open_device
from mahtrt.cuda.device import CudaError


class Bench:
    """An open device with two streams and some memory, on purpose never given back."""

    def __init__(self, order: Order = "lazy", seed: int = 0) -> None:
        self.driver = FakeDriver(order=order, seed=seed)
        self.device: BindingsDevice = open_device(needed_for="a test", driver=self.driver)
        self.device.__enter__()
        self.first, self.second = self.device.create_stream(), self.device.create_stream()
        self.memory = self.device.allocate(8)
        self.there, self.back = (self.device.allocate_pinned((8,), np.uint8) for _ in range(2))

    def send(self, value: int) -> None:
        self.there.array[...] = value
        self.device.copy_to_device(self.memory.address, self.there.array, self.first)


def test_memory_that_was_not_written_is_not_zero() -> None:
    bench = Bench()
    bench.device.copy_to_host(bench.back.array, bench.memory.address, bench.first)
    bench.first.synchronize()
    assert bench.back.array.all()


def test_a_host_buffer_that_is_used_again_too_early_gives_wrong_data() -> None:
    bench = Bench()
    bench.send(1)
    bench.there.array[...] = 2
    bench.device.copy_to_host(bench.back.array, bench.memory.address, bench.first)
    bench.first.synchronize()
    assert bench.back.array.tolist() == [2] * 8


def read_without_waiting(bench: Bench) -> int:
    bench.send(1)
    bench.first.synchronize()
    bench.send(2)
    bench.device.copy_to_host(bench.back.array, bench.memory.address, bench.second)
    bench.second.synchronize()
    return int(bench.back.array[0])


def test_a_missing_wait_is_seen() -> None:
    assert read_without_waiting(Bench("lazy")) == 1
    found = {read_without_waiting(Bench("random", seed)) for seed in range(20)}
    assert found == {1, 2}, "by chance it goes well, by chance it does not"


def test_work_that_is_overwritten_without_a_wait_is_seen() -> None:
    def overwrite(bench: Bench) -> int:
        bench.send(1)
        bench.device.copy_to_host(bench.back.array, bench.memory.address, bench.first)
        bench.device.fill_zero(bench.memory.address, 8, bench.second)
        bench.first.synchronize()
        return int(bench.back.array[0])

    assert {overwrite(Bench("random", seed)) for seed in range(20)} >= {0, 1}


def frees_twice(bench: Bench) -> None:
    for _ in range(2):
        bench.driver.cuMemFree(bench.memory.address)


def uses_after_free(bench: Bench) -> None:
    bench.memory.free()
    bench.send(1)


def uses_a_closed_stream(bench: Bench) -> None:
    bench.first.close()
    bench.send(1)


def fills_the_host(bench: Bench) -> None:
    bench.device.fill_zero(bench.there.array.ctypes.data, 1, bench.first)


def copies_out_of_range(bench: Bench) -> None:
    place = bench.memory.address
    bench.device.copy_on_device(place + 4, place, 8, bench.first)


def copies_to_the_device_as_if_it_were_the_host(bench: Bench) -> None:
    place = bench.memory.address
    bench.driver.cuMemcpyDtoHAsync(place, place, 4, bench.first.handle)


MISUSES: dict[str, Callable[[Bench], None]] = {
    "double free": frees_twice,
    "after free": uses_after_free,
    "no device memory": fills_the_host,
    "of which 4": copies_out_of_range,
    "no memory of the host": copies_to_the_device_as_if_it_were_the_host,
    "which is none": uses_a_closed_stream,
}


@pytest.mark.parametrize("rule", MISUSES)
def test_misuse_is_seen(rule: str) -> None:
    bench = Bench()
    with pytest.raises(MisuseError, match=rule):
        MISUSES[rule](bench)
    with pytest.raises(AssertionError, match=rule):
        bench.driver.check()


def freed_too_early(bench: Bench) -> None:
    bench.send(1)
    bench.memory.free()


def destroyed_too_early(bench: Bench) -> None:
    bench.send(1)
    bench.first.close()


def event_destroyed_too_early(bench: Bench) -> None:
    event = bench.device.create_event()
    bench.send(1)
    event.record(bench.first)
    event.close()


def graph_destroyed_too_early(bench: Bench) -> None:
    graph = bench.device.record(bench.first, lambda: bench.send(1))
    graph.launch(bench.first)
    graph.close()


@pytest.mark.parametrize(
    "end",
    [freed_too_early, destroyed_too_early, event_destroyed_too_early, graph_destroyed_too_early],
)
def test_what_is_given_back_while_it_works_is_seen(end: Callable[[Bench], None]) -> None:
    bench = Bench()
    end(bench)
    assert len(bench.driver.violations) == 1


def test_a_graph_of_freed_memory_is_seen() -> None:
    bench = Bench()
    graph = bench.device.record(bench.first, lambda: bench.send(1))
    bench.memory.free()
    graph.launch(bench.first)
    with pytest.raises(MisuseError, match="after free"):
        bench.first.synchronize()


def test_leaks_are_told() -> None:
    told = "; ".join(Bench().driver.leaks())
    for part in ("8 bytes at", "stream 0x", "context of device 0", "current context of thread"):
        assert part in told


def test_streams_of_a_capture_are_joined_by_events() -> None:
    bench = Bench()
    fork, join = bench.device.create_event(), bench.device.create_event()

    def forked(*, joined: bool) -> None:
        bench.send(1)
        fork.record(bench.first)
        bench.second.wait(fork)
        bench.device.copy_to_host(bench.back.array, bench.memory.address, bench.second)
        join.record(bench.second)
        if joined:
            bench.first.wait(join)

    graph = bench.device.record(bench.first, lambda: forked(joined=True))
    graph.launch(bench.first)
    bench.first.synchronize()
    assert bench.back.array.tolist() == [1] * 8
    with pytest.raises(CudaError, match="UNJOINED"):
        bench.device.record(bench.first, lambda: forked(joined=False))
    outside = bench.device.create_event()
    outside.record(bench.second)
    with pytest.raises(CudaError, match="ISOLATION"):
        bench.device.record(bench.first, lambda: bench.first.wait(outside))
    assert len(bench.driver.violations) == 2


def test_any_call_can_be_told_to_fail() -> None:
    bench = Bench()
    bench.driver.fail("cuMemAlloc", 2, at=2)
    bench.device.allocate(4).free()
    with pytest.raises(CudaError, match="OUT_OF_MEMORY"):
        bench.device.allocate(4)
    bench.driver.fail("*", 999, at=3)
    bench.device.allocate(4).free()
    with pytest.raises(CudaError, match="999"):
        bench.first.synchronize()
