"""A program: the device on the real ``cuda-bindings``, over the driver of ``stub_libcuda.cpp``."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable

import numpy as np
import pytest

from mahtrt.cuda.apis import open_device
from mahtrt.cuda.device import CudaDevice, CudaError, Launch, Stream


def copies(device: CudaDevice, stream: Stream) -> None:
    memory, host = device.allocate(64), device.allocate_pinned((16,), np.float32)
    other = device.allocate(64)
    host.array[...] = range(16)
    device.copy_to_device(memory.address, host.array, stream)
    device.copy_on_device(other.address, memory.address, 64, stream)
    device.fill_zero(other.address, 8, stream)
    device.copy_to_host(host.array, other.address, stream)
    stream.synchronize()
    assert host.array.tolist() == [0, 0, *range(2, 16)]
    inside = device.look_up(other.address + 60)
    assert (inside.kind, inside.device, inside.start, inside.nbytes) == (
        "device",
        0,
        other.address,
        64,
    )
    pinned = device.look_up(host.array.ctypes.data)
    assert (pinned.kind, pinned.device, pinned.nbytes) == ("host", None, 64)
    place = memory.address
    for each in (memory, other, host):
        each.free()
    assert device.look_up(place).kind == "unknown"


def events(device: CudaDevice, stream: Stream) -> None:
    first, second, untimed = (device.create_event(timed=timed) for timed in (True, True, False))
    memory = device.allocate(4)
    first.record(stream)
    device.fill_zero(memory.address, 4, stream)
    assert not second.is_done()
    second.record(stream)
    stream.wait(second)
    second.synchronize()
    assert second.is_done()
    assert second.elapsed_ms(first) == 1.0
    raises("cuEventElapsedTime", lambda: untimed.elapsed_ms(first))
    for event in (first, second, untimed):
        event.close()
    memory.free()


def kernels(device: CudaDevice, stream: Stream) -> None:
    module = device.load(b"ptx")
    memory, host = device.allocate(16), device.allocate_pinned((4,), np.float32)
    host.array[...] = (1, 2, 3, 4)
    arguments = (ctypes.c_void_p(memory.address), ctypes.c_int(3), ctypes.c_float(0.5))
    scale = module.function("scale")
    launch = Launch("scale", (1, 2, 3), (32, 1, 1), arguments, shared_bytes=64)

    def work() -> None:
        device.copy_to_device(memory.address, host.array, stream)
        device.launch(scale, launch, stream)
        device.copy_to_host(host.array, memory.address, stream)

    graph = device.record(stream, work)
    assert host.array.tolist() == [1, 2, 3, 4]
    for _ in range(2):
        graph.launch(stream)
    stream.synchronize()
    assert host.array.tolist() == [0.25, 0.5, 0.75, 4]
    raises("cuModuleGetFunction", lambda: module.function("missing"))
    raises("its log: ptxas fatal : BROKEN", lambda: device.load(b"BROKEN"))
    graph.close()
    module.unload()
    memory.free()
    host.free()


def raises(told: str, call: Callable[[], object]) -> None:
    with pytest.raises(CudaError, match=re.escape(told)):
        call()


def main() -> None:
    device = open_device(needed_for="a story", api="cuda-bindings")
    assert (device.name, device.capability, device.multiprocessors) == ("NVIDIA Stub", "SM90", 132)
    with device:
        stream = device.create_stream()
        for part in (copies, events, kernels):
            part(device, stream)
        assert device.adopt_stream(stream.handle).handle == stream.handle
        assert device.memory() == (3 << 20, 24 << 20)
        raises("2 (CUDA_ERROR_OUT_OF_MEMORY: out of memory)", lambda: device.allocate(2 << 30))
        raises("3 of 24 MiB are free", lambda: device.allocate(2 << 30))
        stream.close()
    device.close()
    print(device.api)


if __name__ == "__main__":
    main()
