"""A GPU through PyCUDA, for programs that live in it: see :mod:`mahtrt.cuda.device`.

The primary context is used, which PyTorch and TensorRT share; ``pycuda.autoinit``, which makes a
context of its own, is never imported. PyCUDA's ``Stream``, ``DeviceAllocation`` and ``GPUArray`` go
in, and what this device hands out goes into PyCUDA by its address or handle.

What PyCUDA 2025 and 2026 do not have, from its sources (``cuda.hpp``, ``wrap_cudadrv.cpp``): CUDA
graphs; streams made of a handle, so that only its own ``Stream``, the default stream, and handles
of streams that this device made can be adopted; codes of errors, found here by their texts; and
what kind of memory is at an address. Releasing a primary context leaves it current in the thread,
without a way to take it away. So it is retained once for each GPU, until the process ends.
"""

from __future__ import annotations

import ctypes
import math
import threading
import weakref
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, NoReturn

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mahtrt.cuda.device import CudaError, Function, Launch, Pointer, Stream
from mahtrt.cuda.probe import missing_gpu, probe_cuda
from mahtrt.cuda.pycuda_handles import (
    Calls,
    PycudaEvent,
    PycudaFunction,
    PycudaMemory,
    PycudaModule,
    PycudaPinnedMemory,
    PycudaStream,
)
from mahtrt.cuda.streams import handle_of_stream
from mahtrt.errors import require

EXTRA = "pycuda"
_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING
_DEFAULT_STREAMS = (0, 1)  # the legacy stream's two numbers
_NO_GRAPHS = "PyCUDA records no CUDA graphs; install mahtrt[gpu] for cuda-bindings"
_contexts: dict[tuple[int, int], Any] = {}
_retaining = threading.Lock()


def open_device(*, needed_for: str, ordinal: int = 0, driver: Any = None) -> PycudaDevice:
    """Retain the primary context of a GPU.

    Args:
        needed_for: What the GPU is wanted for, for the message.
        ordinal: Its number among those that the process sees.
        driver: The module ``pycuda.driver``, or what stands in for it; None imports it.

    Raises:
        MissingComponentError: There is no driver, no such device, or no package.
        CudaError: The driver refuses the context.
    """
    api = "pycuda"
    if driver is None:
        problem = probe_cuda().problem
        if problem:
            raise missing_gpu(needed_for, problem)
        driver = require("pycuda.driver", extra=EXTRA, needed_for=needed_for)
        api = f"pycuda {require('pycuda', extra=EXTRA, needed_for=needed_for).VERSION_TEXT}"
    calls = Calls(driver)
    calls.call(driver.init)
    count = calls.call(driver.Device.count)
    if not 0 <= ordinal < count:
        raise missing_gpu(needed_for, f"device {ordinal} of {count}")
    return PycudaDevice(calls, ordinal, api)


class PycudaDevice:
    """See :class:`mahtrt.cuda.device.CudaDevice`."""

    no_graphs = _NO_GRAPHS

    def __init__(self, calls: Calls, ordinal: int, api: str) -> None:
        """Retain the primary context, or use it again.

        Raises:
            CudaError: The driver refuses it.
        """
        self._calls, self._call, self._driver = calls, calls.call, calls.module
        self.ordinal, self.api = ordinal, api
        gpu = self._call(self._driver.Device, ordinal)
        self.name = str(self._call(gpu.name))
        major, minor = self._call(gpu.compute_capability)
        self.capability = f"SM{major}{minor}"
        count = self._driver.device_attribute.MULTIPROCESSOR_COUNT
        self.multiprocessors = int(self._call(gpu.get_attribute, count))
        with _retaining:
            key = (id(self._driver), ordinal)
            if key not in _contexts:
                _contexts[key] = self._call(gpu.retain_primary_context)
            self._context = _contexts[key]
        # By their handles, by which engines name the stream of their slot.
        self._streams = weakref.WeakValueDictionary[int, PycudaStream]()
        self._open = True

    def __enter__(self) -> PycudaDevice:
        if not self._open:
            raise CudaError("cuCtxPushCurrent", 0, got="a device after close()")
        self._call(self._context.push)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._call(self._driver.Context.pop)
        except CudaError:
            if error is None:  # else the first error is the one to tell
                raise

    def close(self) -> None:
        """End this use of the device; its context stays with the process."""
        self._open = False

    def allocate(self, nbytes: int) -> PycudaMemory:
        """Memory of the GPU; at least one byte."""
        made = self._call(self._driver.mem_alloc, max(nbytes, 1))
        return PycudaMemory(self._calls, made, nbytes)

    def allocate_pinned(self, shape: Sequence[int], dtype: DTypeLike) -> PycudaPinnedMemory:
        """Page-locked memory of the host."""
        wanted, sizes = np.dtype(dtype), tuple(shape)
        count = math.prod(sizes)
        nbytes = max(count * wanted.itemsize, 1)
        memory = self._call(self._driver.pagelocked_empty, nbytes, np.uint8)
        array = memory[: count * wanted.itemsize].view(wanted).reshape(sizes)
        return PycudaPinnedMemory(self._calls, memory, array)

    def create_stream(self) -> PycudaStream:
        """A stream of its own, which does not wait for the default stream."""
        made = self._call(self._driver.Stream, _NON_BLOCKING)
        stream = self._streams[int(made.handle)] = PycudaStream(self._calls, made)
        return stream

    def adopt_stream(self, stream: Any) -> PycudaStream:
        """A ``pycuda.driver.Stream``, the default stream as 0 or 1, or the handle of one of ours.

        What is given for a handle of ours is a second holder of the stream: closing it leaves the
        first alone.
        """
        if isinstance(stream, self._driver.Stream):
            return PycudaStream(self._calls, stream)
        handle = handle_of_stream(stream)
        if handle in _DEFAULT_STREAMS:
            return PycudaStream(self._calls, None)
        ours = self._streams.get(handle)
        if ours is not None and ours.is_open:
            return PycudaStream(self._calls, ours.stream)
        raise CudaError(
            "cuStreamGetCtx",
            0,
            got=f"stream {handle:#x} of another library",
            expected="a pycuda.driver.Stream, or 0 for the default stream",
            fix="Install mahtrt[gpu]: through cuda-bindings any stream will do.",
        )

    def create_event(self, *, timed: bool = False) -> PycudaEvent:
        """An event; only timed ones can tell times."""
        flags = self._driver.event_flags
        wanted = flags.DEFAULT if timed else flags.DISABLE_TIMING
        return PycudaEvent(self._calls, self._call(self._driver.Event, wanted))

    def copy_to_device(self, address: int, array: NDArray[Any], stream: Stream) -> None:
        """Start copying a C-contiguous array to the GPU."""
        source = _bytes_of("cuMemcpyHtoDAsync", array)
        self._call(self._driver.memcpy_htod_async, address, source, _inner(stream))

    def copy_to_host(self, array: NDArray[Any], address: int, stream: Stream) -> None:
        """Start copying from the GPU into a C-contiguous array."""
        to = _bytes_of("cuMemcpyDtoHAsync", array)
        self._call(self._driver.memcpy_dtoh_async, to, address, _inner(stream))

    def copy_on_device(self, to: int, source: int, nbytes: int, stream: Stream) -> None:
        """Start copying from the GPU to itself."""
        self._call(self._driver.memcpy_dtod_async, to, source, nbytes, _inner(stream))

    def fill_zero(self, address: int, nbytes: int, stream: Stream) -> None:
        """Start writing zeros."""
        self._call(self._driver.memset_d8_async, address, 0, nbytes, _inner(stream))

    def record(self, stream: Stream, work: Callable[[], None]) -> NoReturn:
        """PyCUDA has no graphs.

        Raises:
            CudaError: Always.
        """
        raise CudaError("cuStreamBeginCapture", 0, got=self.no_graphs)

    def load(self, image: bytes) -> PycudaModule:
        """Kernels from PTX or a cubin."""
        if not image.startswith(b"\x7fELF"):
            image = image.rstrip(b"\0") + b"\0"
        return PycudaModule(self._calls, self._call(self._driver.module_from_buffer, image))

    def launch(self, function: Function, launch: Launch, stream: Stream) -> None:
        """Start a kernel."""
        assert isinstance(function, PycudaFunction)
        # PyCUDA takes the type of a parameter from that of a NumPy scalar.
        values = [_scalar(argument) for argument in launch.arguments]
        options = {"grid": launch.grid, "block": launch.block, "shared": launch.shared_bytes}
        self._call(function.function, *values, stream=_inner(stream), **options)

    def look_up(self, address: int) -> Pointer:
        """What the driver knows of an address; memory of the host is unknown to PyCUDA."""
        if not 0 < address < 2**64:
            return Pointer("unknown")
        try:
            start, nbytes = self._call(self._driver.mem_get_address_range, address)
        except CudaError as error:
            if error.loses_device:
                raise
            return Pointer("unknown")
        return Pointer("device", self.ordinal, int(start), int(nbytes))

    def memory(self) -> tuple[int, int]:
        """Free and total bytes of the GPU's memory."""
        free, total = self._call(self._driver.mem_get_info)
        return int(free), int(total)


def _inner(stream: Stream) -> Any:
    assert isinstance(stream, PycudaStream)
    return stream.stream


def _scalar(argument: Any) -> Any:
    if isinstance(argument, ctypes.c_void_p):
        return np.uintp(argument.value or 0)
    return np.dtype(type(argument)).type(argument.value)


def _bytes_of(call: str, array: NDArray[Any]) -> NDArray[Any]:
    """The memory of an array as PyCUDA takes it: not every dtype has a buffer."""
    if not array.flags.c_contiguous:
        raise CudaError(call, 0, got=f"an array of strides {array.strides}", expected="none")
    return array.reshape(-1).view(np.uint8)
