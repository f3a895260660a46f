"""What PyCUDA hands out: its calls with their errors told as ours, and what is given back.

PyCUDA gives streams, events and modules back when their objects are collected. So the last
reference has to go while the context is current, which is where :mod:`mahtrt.cuda.device` asks for
``close``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.cuda.device import OUT_OF_MEMORY, STICKY, CudaError, Event, Stream

# Texts of cuGetErrorString, by which PyCUDA tells an error, of those codes that matter here.
_CODES = {
    "invalid argument": 1,
    "out of memory": OUT_OF_MEMORY,
    "invalid device context": 201,
    "a PTX JIT compilation failed": 218,
    "invalid resource handle": 400,
    "named symbol not found": 500,
    "device not ready": 600,
    "an illegal memory access was encountered": 700,
    "the launch timed out and was terminated": 702,
    "context is destroyed": 709,
    "device-side assert triggered": 710,
    "hardware stack error": 714,
    "an illegal instruction was encountered": 715,
    "misaligned address": 716,
    "operation not supported on global/shared address space": 717,
    "invalid program counter": 718,
    "unspecified launch failure": 719,
}
_UNKNOWN = 999
_CLOSED = object()  # None would be the default stream


class Calls:
    """PyCUDA's functions, whose exceptions become :class:`CudaError`.

    Attributes:
        module: ``pycuda.driver``.
    """

    __slots__ = ("module",)

    def __init__(self, module: Any) -> None:
        self.module = module

    def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """What a function answers.

        Raises:
            CudaError: The driver answers with an error, or PyCUDA does.
        """
        try:
            return function(*arguments, **options)
        except (self.module.Error, MemoryError, OverflowError) as error:
            raise self._error(error) from error

    def _error(self, error: BaseException) -> CudaError:
        """PyCUDA says ``cuMemAlloc failed: out of memory``, and a log behind a dash."""
        text = " ".join(str(error).split())
        name, parted, said = text.partition(" failed: ")
        said, _, log = said.partition(" - ")
        unknown = _UNKNOWN if parted else 0
        code = OUT_OF_MEMORY if isinstance(error, MemoryError) else _CODES.get(said, unknown)
        got = f"error {code} ({said})" if parted else text
        fix = "This process cannot use the GPU any more: start it again." if code in STICKY else ""
        if code == OUT_OF_MEMORY:
            fix = f"{self._free()}Close other programs on the GPU, or open fewer engines at once."
        call = name if parted else "PyCUDA"
        return CudaError(call, code, got=got + (f"; its log: {log}" if log else ""), fix=fix)

    def _free(self) -> str:
        try:
            free, total = self.module.mem_get_info()
        except self.module.Error:
            return ""
        return f"{free / 2**20:.0f} of {total / 2**20:.0f} MiB are free. "


class PycudaMemory:
    """See :class:`mahtrt.cuda.device.DeviceMemory`.

    Attributes:
        allocation: PyCUDA's ``DeviceAllocation``, for its own functions.
    """

    __slots__ = ("_calls", "address", "allocation", "nbytes")

    def __init__(self, calls: Calls, allocation: Any, nbytes: int) -> None:
        self._calls, self.allocation = calls, allocation
        self.address, self.nbytes = int(allocation), nbytes

    def free(self) -> None:
        """Give it back."""
        allocation, self.allocation = self.allocation, None
        if allocation is not None:
            self._calls.call(allocation.free)


class PycudaPinnedMemory:
    """See :class:`mahtrt.cuda.device.PinnedMemory`."""

    __slots__ = ("_calls", "_memory", "array")

    def __init__(self, calls: Calls, memory: NDArray[Any], array: NDArray[Any]) -> None:
        self._calls, self.array = calls, array
        self._memory: Any = memory

    def free(self) -> None:
        """Give it back; an empty array takes its place."""
        memory, self._memory = self._memory, None
        self.array = np.empty(0, self.array.dtype)
        if memory is not None:
            self._calls.call(memory.base.free)  # PyCUDA's PagelockedHostAllocation


class PycudaStream:
    """See :class:`mahtrt.cuda.device.Stream`.

    Attributes:
        stream: PyCUDA's; None is the default stream.
    """

    __slots__ = ("__weakref__", "_calls", "handle", "stream")

    def __init__(self, calls: Calls, stream: Any) -> None:
        self._calls, self.stream = calls, stream
        self.handle = 0 if stream is None else int(stream.handle)

    @property
    def is_open(self) -> bool:
        """Whether it was not closed yet."""
        return self.stream is not _CLOSED

    def synchronize(self) -> None:
        """Wait until everything given to the stream is done."""
        if self.stream is not None:
            self._calls.call(self.stream.synchronize)
            return
        end = self._calls.call(self._calls.module.Event)
        self._calls.call(end.record, None)
        self._calls.call(end.synchronize)

    def wait(self, event: Event) -> None:
        """Let what is given to the stream from now on wait for an event."""
        assert isinstance(event, PycudaEvent)
        if self.stream is not None:
            self._calls.call(self.stream.wait_for_event, event.event)
            return
        # PyCUDA's functions take the default stream as None, and None has no methods.
        self._calls.call(event.event.synchronize)

    def close(self) -> None:
        """Forget the stream; the last who does gives it back."""
        self.stream = _CLOSED


class PycudaEvent:
    """See :class:`mahtrt.cuda.device.Event`.

    Attributes:
        event: PyCUDA's.
    """

    __slots__ = ("_calls", "event")

    def __init__(self, calls: Calls, event: Any) -> None:
        self._calls, self.event = calls, event

    def record(self, stream: Stream) -> None:
        """Set the mark behind what was given to the stream so far."""
        assert isinstance(stream, PycudaStream)
        self._calls.call(self.event.record, stream.stream)

    def synchronize(self) -> None:
        """Wait until the stream comes to the mark."""
        self._calls.call(self.event.synchronize)

    def is_done(self) -> bool:
        """Whether the stream came to the mark."""
        return bool(self._calls.call(self.event.query))

    def elapsed_ms(self, earlier: Event) -> float:
        """Milliseconds of the GPU's clock between two marks."""
        assert isinstance(earlier, PycudaEvent)
        return float(self._calls.call(self.event.time_since, earlier.event))

    def close(self) -> None:
        """Give the event back."""
        self.event = None


class PycudaFunction:
    """See :class:`mahtrt.cuda.device.Function`."""

    __slots__ = ("function", "name")

    def __init__(self, name: str, function: Any) -> None:
        self.name, self.function = name, function


class PycudaModule:
    """See :class:`mahtrt.cuda.device.Module`."""

    __slots__ = ("_calls", "_module")

    def __init__(self, calls: Calls, module: Any) -> None:
        self._calls, self._module = calls, module

    def function(self, name: str) -> PycudaFunction:
        """A kernel by its entry."""
        return PycudaFunction(name, self._calls.call(self._module.get_function, name))

    def unload(self) -> None:
        """Give it back, when its functions are gone too: they keep it alive."""
        self._module = None
