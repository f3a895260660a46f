"""A GPU through NVIDIA's ``cuda-bindings``, versions 12.8 to 13: see :mod:`mahtrt.cuda.device`.

From 12.9.1 on the package lets other threads run while it waits for the GPU (its release notes).

Every function of ``cuda.bindings.driver`` answers with a tuple, its code first. Functions whose
signature changed between CUDA 12 and 13 (``cuCtxCreate``, ``cuGraphAddDependencies`` and their
kind) are not used; ``cuGraphInstantiate(graph, flags)``, ``cuEventElapsedTime(start, end)`` and
``cuStreamGetCtx(stream)`` are the same in both, as the package's own sources say. Streams and
addresses go in as integers, enumerations and all other handles as the package gives them.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mahtrt.cuda.bindings_handles import (
    BindingsEvent,
    BindingsFunction,
    BindingsGraph,
    BindingsMemory,
    BindingsModule,
    BindingsPinnedMemory,
    BindingsStream,
    Driver,
)
from mahtrt.cuda.collecting import no_collection
from mahtrt.cuda.device import CudaError, Function, Launch, MemoryKind, Pointer, Stream
from mahtrt.cuda.probe import missing_gpu, probe_cuda
from mahtrt.cuda.streams import handle_of_stream
from mahtrt.errors import require

PACKAGE, EXTRA = "cuda.bindings.driver", "gpu"
_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: does not wait for the default stream
_DISABLE_TIMING = 2  # CU_EVENT_DISABLE_TIMING
_LOG_BYTES = 8192
_MEMORY_KINDS: dict[int, MemoryKind] = {1: "host", 2: "device"}  # CUmemorytype


def open_device(*, needed_for: str, ordinal: int = 0, driver: Any = None) -> BindingsDevice:
    """Retain the primary context of a GPU.

    Args:
        needed_for: What the GPU is wanted for, for the message.
        ordinal: Its number among those that the process sees.
        driver: The module ``cuda.bindings.driver``, or what stands in for it; None imports it.

    Raises:
        MissingComponentError: There is no driver, no such device, or no package.
        CudaError: The driver refuses the context.
    """
    api = "cuda-bindings"
    if driver is None:
        problem = probe_cuda().problem
        if problem:
            raise missing_gpu(needed_for, problem)
        driver = require(PACKAGE, extra=EXTRA, needed_for=needed_for)
        import cuda.bindings

        api = f"{api} {cuda.bindings.__version__}"
    calls = Driver(driver)
    calls.call("cuInit", 0)
    count = calls.call("cuDeviceGetCount")
    if not 0 <= ordinal < count:
        raise missing_gpu(needed_for, f"device {ordinal} of {count}")
    return BindingsDevice(calls, ordinal, api)


class BindingsDevice:
    """See :class:`mahtrt.cuda.device.CudaDevice`."""

    no_graphs = ""

    def __init__(self, driver: Driver, ordinal: int, api: str) -> None:
        """Retain the primary context.

        Raises:
            CudaError: The driver refuses it.
        """
        self._driver, self._call = driver, driver.call
        self.ordinal, self.api = ordinal, api
        self._device = self._call("cuDeviceGet", ordinal)
        name: bytes = self._call("cuDeviceGetName", 256, self._device)
        self.name = name.partition(b"\0")[0].decode(errors="replace")
        major, minor = (
            self._attribute(f"COMPUTE_CAPABILITY_{part}") for part in ("MAJOR", "MINOR")
        )
        self.capability = f"SM{major}{minor}"
        self.multiprocessors = self._attribute("MULTIPROCESSOR_COUNT")
        self._closing = threading.Lock()
        self._context = self._call("cuDevicePrimaryCtxRetain", self._device)
        self._open = True

    def _attribute(self, name: str) -> int:
        attributes = self._driver.module.CUdevice_attribute
        wanted = getattr(attributes, f"CU_DEVICE_ATTRIBUTE_{name}")
        return int(self._call("cuDeviceGetAttribute", wanted, self._device))

    def __enter__(self) -> BindingsDevice:
        if not self._open:
            raise CudaError("cuCtxPushCurrent", 0, got="a device after close()")
        self._call("cuCtxPushCurrent", self._context)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._call("cuCtxPopCurrent")
        except CudaError:
            if error is None:  # else the first error is the one to tell
                raise

    def close(self) -> None:
        """Release the context; a second call does nothing."""
        with self._closing:
            was_open, self._open = self._open, False
        if was_open:
            self._call("cuDevicePrimaryCtxRelease", self._device)

    def allocate(self, nbytes: int) -> BindingsMemory:
        """Memory of the GPU; at least one byte."""
        return BindingsMemory(self._driver, self._call("cuMemAlloc", max(nbytes, 1)), nbytes)

    def allocate_pinned(self, shape: Sequence[int], dtype: DTypeLike) -> BindingsPinnedMemory:
        """Page-locked memory of the host."""
        shape, wanted = tuple(shape), np.dtype(dtype)
        nbytes = max(math.prod(shape) * wanted.itemsize, 1)
        place = int(self._call("cuMemHostAlloc", nbytes, 0))
        memory = (ctypes.c_char * nbytes).from_address(place)
        return BindingsPinnedMemory(
            self._driver, place, np.ndarray(shape, wanted, memoryview(memory))
        )

    def create_stream(self) -> BindingsStream:
        """A stream of its own, which does not wait for the default stream."""
        return BindingsStream(self._driver, self._call("cuStreamCreate", _NON_BLOCKING), ours=True)

    def adopt_stream(self, stream: Any) -> BindingsStream:
        """A stream of the caller's."""
        handle = self._driver.module.CUstream(handle_of_stream(stream))
        context = self._call("cuStreamGetCtx", handle)
        if int(context) != int(self._context):
            raise CudaError(
                "cuStreamGetCtx",
                0,
                got=f"stream {int(handle):#x} of another context",
                expected=f"one of the primary context of device {self.ordinal}",
            )
        return BindingsStream(self._driver, handle, ours=False, owner=stream)

    def create_event(self, *, timed: bool = False) -> BindingsEvent:
        """An event; only timed ones can tell times."""
        flags = 0 if timed else _DISABLE_TIMING
        return BindingsEvent(self._driver, self._call("cuEventCreate", flags))

    def copy_to_device(self, address: int, array: NDArray[Any], stream: Stream) -> None:
        """Start copying a C-contiguous array to the GPU."""
        place = _address("cuMemcpyHtoDAsync", array)
        self._call("cuMemcpyHtoDAsync", address, place, array.nbytes, stream.handle)

    def copy_to_host(self, array: NDArray[Any], address: int, stream: Stream) -> None:
        """Start copying from the GPU into a C-contiguous array."""
        place = _address("cuMemcpyDtoHAsync", array)
        self._call("cuMemcpyDtoHAsync", place, address, array.nbytes, stream.handle)

    def copy_on_device(self, to: int, source: int, nbytes: int, stream: Stream) -> None:
        """Start copying from the GPU to itself."""
        self._call("cuMemcpyDtoDAsync", to, source, nbytes, stream.handle)

    def fill_zero(self, address: int, nbytes: int, stream: Stream) -> None:
        """Start writing zeros."""
        self._call("cuMemsetD8Async", address, 0, nbytes, stream.handle)

    def record(self, stream: Stream, work: Callable[[], None]) -> BindingsGraph:
        """Record what ``work`` gives to the stream; see :class:`mahtrt.cuda.device.CudaDevice`."""
        with no_collection():
            graph = self._captured(stream, work)
        return self._instantiated(graph)

    def _captured(self, stream: Stream, work: Callable[[], None]) -> Any:
        mode = self._driver.module.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._call("cuStreamBeginCapture", stream.handle, mode)
        try:
            work()
        except BaseException:
            # Whatever became of the capture, this ends it: the stream works again.
            with contextlib.suppress(CudaError):
                self._call("cuGraphDestroy", self._call("cuStreamEndCapture", stream.handle))
            raise
        return self._call("cuStreamEndCapture", stream.handle)

    def _instantiated(self, graph: Any) -> BindingsGraph:
        """A graph that can be launched, instead of one that cannot."""
        with contextlib.ExitStack() as undo:
            with contextlib.ExitStack() as destroy:
                destroy.callback(self._call, "cuGraphDestroy", graph)
                made = BindingsGraph(self._driver, self._call("cuGraphInstantiate", graph, 0))
                undo.callback(made.close)
            undo.pop_all()
        return made

    def load(self, image: bytes) -> BindingsModule:
        """Kernels from PTX or a cubin."""
        if not image.startswith(b"\x7fELF"):
            image = image.rstrip(b"\0") + b"\0"
        options = self._driver.module.CUjit_option
        log = bytearray(_LOG_BYTES)
        wanted = {
            options.CU_JIT_ERROR_LOG_BUFFER: log,
            options.CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES: len(log),
        }
        arguments = (image, len(wanted), list(wanted), list(wanted.values()))
        code, module = self._driver.ask("cuModuleLoadDataEx", *arguments)
        if code:
            text = bytes(log).partition(b"\0")[0].decode(errors="replace")
            raise self._driver.error("cuModuleLoadDataEx", code, " ".join(text.split()))
        return BindingsModule(self._driver, module)

    def launch(self, function: Function, launch: Launch, stream: Stream) -> None:
        """Start a kernel."""
        assert isinstance(function, BindingsFunction)
        arguments = launch.arguments
        places = (ctypes.c_void_p * len(arguments))(*map(ctypes.addressof, arguments))
        sizes = (*launch.grid, *launch.block, launch.shared_bytes)
        place = ctypes.addressof(places) if arguments else 0
        self._call("cuLaunchKernel", function.handle, *sizes, stream.handle, place, 0)

    def look_up(self, address: int) -> Pointer:
        """What the driver knows of an address; never raises for a wrong one."""
        if not 0 < address < 2**64:
            return Pointer("unknown")
        known = self._driver.module.CUpointer_attribute
        names = ("MEMORY_TYPE", "IS_MANAGED", "DEVICE_ORDINAL", "RANGE_START_ADDR", "RANGE_SIZE")
        wanted = [getattr(known, f"CU_POINTER_ATTRIBUTE_{name}") for name in names]
        # For an address that it does not know, this answers with zeros and no error.
        found = self._call("cuPointerGetAttributes", len(wanted), wanted, address)
        number, managed, device, start, nbytes = map(int, found)
        kind: MemoryKind = "managed" if managed else _MEMORY_KINDS.get(number, "unknown")
        if kind == "unknown":
            return Pointer("unknown")
        on_device = kind != "host" and device < 2**31  # -2 where there is none, unsigned
        return Pointer(kind, device if on_device else None, start, nbytes)

    def memory(self) -> tuple[int, int]:
        """Free and total bytes of the GPU's memory."""
        free, total = self._call("cuMemGetInfo")
        return int(free), int(total)


def _address(call: str, array: NDArray[Any]) -> int:
    """Where an array begins."""
    if not array.flags.c_contiguous:
        raise CudaError(call, 0, got=f"an array of strides {array.strides}", expected="none")
    return int(array.__array_interface__["data"][0])
