"""Where a kernel runs under test: on the CPU through the shim, or on a GPU.

host = CpuHost()
place = host.put(image)                  # an address that kernels read and write
host.launch("preprocess", ENTRIES, launch)
host.take(place, batch)                  # what the kernel wrote, into an array
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import pytest
from cuda_on_cpu import KERNELS, cpu_kernels
from numpy.typing import NDArray

from mahtrt.cuda.bindings import open_device
from mahtrt.cuda.compile import load_kernels
from mahtrt.cuda.device import CudaDevice, DeviceMemory, Launch, Module, Stream
from mahtrt.cuda.probe import probe_cuda

Array = NDArray[Any]


class KernelHost(Protocol):
    def put(self, array: Array) -> int:
        """The address of an array's values, for as long as the host lives."""

    def take(self, address: int, array: Array) -> None:
        """Read what is at an address, when all launches are done."""

    def launch(self, source: str, entries: Sequence[str], launch: Launch) -> None:
        """Run an entry of a source."""


class CpuHost:
    """Memory is the arrays' own, so a sanitizer sees their ends."""

    def __init__(self, backwards: bool = False) -> None:
        self.backwards = backwards
        self._kept: dict[int, Array] = {}

    def put(self, array: Array) -> int:
        address: int = array.ctypes.data
        self._kept[address] = array
        return address

    def take(self, address: int, array: Array) -> None:
        assert self._kept[address] is array

    def launch(self, source: str, entries: Sequence[str], launch: Launch) -> None:
        cpu_kernels(KERNELS / f"{source}.cu", entries).launch(
            launch.entry, launch.grid, launch.block, launch.arguments, backwards=self.backwards
        )


class GpuHost:
    """Made by :func:`gpu_host`, whose context is the device's."""

    def __init__(self, device: CudaDevice, stream: Stream) -> None:
        self.device, self.stream = device, stream
        self.modules: dict[str, Module] = {}
        self.memory: list[DeviceMemory] = []

    def put(self, array: Array) -> int:
        self.memory.append(self.device.allocate(array.nbytes))
        address = self.memory[-1].address
        self.device.copy_to_device(address, array, self.stream)
        self.stream.synchronize()
        return address

    def take(self, address: int, array: Array) -> None:
        self.device.copy_to_host(array, address, self.stream)
        self.stream.synchronize()

    def launch(self, source: str, entries: Sequence[str], launch: Launch) -> None:
        if source not in self.modules:
            self.modules[source], _ = load_kernels(self.device, source)
        function = self.modules[source].function(launch.entry)
        self.device.launch(function, launch, self.stream)

    def free(self) -> None:
        """Give the memory back: addresses of before are no more."""
        self.stream.synchronize()
        while self.memory:
            self.memory.pop().free()

    def fastest_ms(self, source: str, launch: Launch, runs: int = 50) -> float:
        """The shortest of many launches, by the GPU's clock."""
        self.launch(source, (), launch)
        times = []
        for _ in range(runs):
            start, end = (self.device.create_event(timed=True) for _ in range(2))
            start.record(self.stream)
            self.launch(source, (), launch)
            end.record(self.stream)
            end.synchronize()
            times.append(end.elapsed_ms(start))
            start.close()
            end.close()
        return min(times)


@contextmanager
def gpu_host() -> Iterator[GpuHost]:
    """A GPU to run on; skips the test where there is none."""
    if problem := probe_cuda().problem:
        pytest.skip(problem)
    pytest.importorskip("cuda.bindings.driver", reason="the buffer layer")
    device = open_device(needed_for="tests of kernels")
    try:
        with device:
            host = GpuHost(device, device.create_stream())
            yield host
            host.free()
            for module in host.modules.values():
                module.unload()
            host.stream.close()
    finally:
        device.close()
