"""libcuda as ctypes shows it, in Python: device memory is host memory at a real address."""
# The functions keep the names that the driver gives them.
# ruff: noqa: N802

from __future__ import annotations

import ctypes
from typing import Any

NAMES = {2: b"CUDA_ERROR_OUT_OF_MEMORY", 100: b"CUDA_ERROR_NO_DEVICE", 700: b"CUDA_ERROR_ILLEGAL"}


class FakeCuda:
    """Records calls; ``fail`` maps a function's name to the code that it is to answer with.

    Attributes:
        calls: The names of the functions called, in order.
        memory: Address to buffer of what is allocated, on the device and page-locked.
        streams: Streams that are open.
        contexts: Depth of the stack of current contexts.
        retained: How often the primary context is retained.
    """

    def __init__(
        self, devices: tuple[tuple[str, int, int], ...] = (("NVIDIA RTX 4090", 8, 9),), **fail: int
    ) -> None:
        self.devices, self.fail = devices, dict(fail)
        self.calls: list[str] = []
        self.memory: dict[int, Any] = {}
        self.streams: set[int] = set()
        self.contexts = self.retained = 0
        self._next_stream = 7000

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cu"):
            raise AttributeError(name)
        function = getattr(type(self), f"do_{name}", None)
        if function is None:
            raise AttributeError(f"libcuda has no {name}")

        def call(*arguments: Any) -> int:
            self.calls.append(name)
            if name in self.fail:
                return self.fail[name]
            function(self, *arguments)
            return 0

        return call

    def do_cuInit(self, flags: int) -> None:
        assert flags == 0

    def do_cuDriverGetVersion(self, version: Any) -> None:
        version._obj.value = 13000

    def do_cuGetErrorName(self, code: int, name: Any) -> None:
        name._obj.value = NAMES.get(code, b"CUDA_ERROR_UNKNOWN")

    def do_cuDeviceGetCount(self, count: Any) -> None:
        count._obj.value = len(self.devices)

    def do_cuDeviceGet(self, device: Any, ordinal: int) -> None:
        device._obj.value = ordinal

    def do_cuDeviceGetName(self, name: Any, size: int, device: Any) -> None:
        name.value = self.devices[device.value][0].encode()

    def do_cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> None:
        value._obj.value = self.devices[device.value][attribute - 74]

    def do_cuDevicePrimaryCtxRetain(self, context: Any, device: Any) -> None:
        self.retained += 1
        context._obj.value = 4242

    def do_cuDevicePrimaryCtxRelease_v2(self, device: Any) -> None:
        assert self.retained
        self.retained -= 1

    def do_cuCtxPushCurrent_v2(self, context: Any) -> None:
        assert context.value == 4242
        assert self.retained
        self.contexts += 1

    def do_cuCtxPopCurrent_v2(self, context: Any) -> None:
        self.contexts -= 1

    def do_cuMemAlloc_v2(self, address: Any, size: Any) -> None:
        self._allocate(address, size)

    def do_cuMemHostAlloc(self, place: Any, size: Any, flags: Any) -> None:
        self._allocate(place, size)

    def _allocate(self, address: Any, size: Any) -> None:
        assert self.contexts, "no context is current"
        buffer = ctypes.create_string_buffer(size.value)
        address._obj.value = ctypes.addressof(buffer)
        self.memory[ctypes.addressof(buffer)] = buffer

    def do_cuMemFree_v2(self, address: Any) -> None:
        del self.memory[address.value]

    def do_cuMemFreeHost(self, place: Any) -> None:
        del self.memory[place.value]

    def do_cuMemGetInfo_v2(self, free: Any, total: Any) -> None:
        free._obj.value, total._obj.value = 3 << 20, 24 << 30

    def do_cuStreamCreate(self, stream: Any, flags: Any) -> None:
        assert flags.value == 1  # non-blocking
        self._next_stream += 1
        stream._obj.value = self._next_stream
        self.streams.add(self._next_stream)

    def do_cuStreamDestroy_v2(self, stream: Any) -> None:
        self.streams.remove(stream.value)

    def do_cuStreamSynchronize(self, stream: Any) -> None:
        assert stream.value in self.streams

    def do_cuMemcpyHtoDAsync_v2(self, to: Any, source: Any, size: Any, stream: Any) -> None:
        self._copy(to, source, size, stream)

    def do_cuMemcpyDtoHAsync_v2(self, to: Any, source: Any, size: Any, stream: Any) -> None:
        self._copy(to, source, size, stream)

    def _copy(self, to: Any, source: Any, size: Any, stream: Any) -> None:
        assert stream.value in self.streams
        for side in (to, source):
            known = self.memory.get(side.value)
            assert known is None or len(known) >= size.value
        ctypes.memmove(to.value, source.value, size.value)
