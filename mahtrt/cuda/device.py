"""What mahtrt asks of CUDA: a device with memory, streams, events, graphs and kernels.

Everything that runs on a GPU here is written against these protocols. Two things fulfil them:
:mod:`mahtrt.cuda.bindings` on NVIDIA's own ``cuda-bindings``, and :mod:`mahtrt.cuda.pycuda_device`
for programs that live in PyCUDA. Both use the *primary* context of a device, the one that TensorRT,
ONNX Runtime, PyTorch and every program of the CUDA runtime share.

Addresses, streams and sizes are plain integers, so that objects of other libraries come in and go
out without a copy. All calls are checked: :class:`CudaError` names the call and what the driver
answered.

Threads. A device may be used from several threads at once; each enters it (``with device:``)
around its calls, which makes the context current in that thread and puts back what was current
before. A stream, event or graph is used by one thread at a time. Work on a stream is done in order,
and a call that takes a stream returns before it is done: memory must live, and must not be written,
until the stream (or an event recorded after the call) is synchronized.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Protocol, TypeAlias

from numpy.typing import DTypeLike, NDArray

from mahtrt.errors import MahtrtError

OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY
# After one of these a context answers every call with an error: it is lost, and with it the device
# for this process. Those of which the driver's documentation of CUresult says so, and 214 (memory
# that ECC could not correct) and 709 (the context was destroyed, as a reset of the device does).
STICKY = frozenset({214, 226, 700, 702, 709, 710, *range(714, 720), 721, 810})

MemoryKind = Literal["device", "host", "managed", "unknown"]
# A kernel's argument: a ctypes scalar, whose type is that of the parameter. Addresses: c_void_p.
Argument: TypeAlias = "ctypes._SimpleCData[Any]"


def gpu_label(ordinal: int, name: str) -> str:
    """What results call a GPU: ``cuda:0 NVIDIA H200``."""
    return f"cuda:{ordinal} {name}"


class CudaError(MahtrtError):
    """CUDA refused a call.

    Attributes:
        call: Name of the driver's function, ``cuMemAlloc``.
        code: What it answered (``CUresult``), 0 where no call was made.
    """

    def __init__(
        self, call: str, code: int, *, got: str, expected: str = "", fix: str = ""
    ) -> None:
        super().__init__(f"CUDA: {call}", got=got, expected=expected or "success", fix=fix)
        self.call, self.code = call, code

    @property
    def is_out_of_memory(self) -> bool:
        """Whether freeing memory, or asking for less, would help."""
        return self.code == OUT_OF_MEMORY

    @property
    def loses_device(self) -> bool:
        """Whether the device cannot be used any more by this process."""
        return self.code in STICKY


@dataclass(frozen=True, slots=True)
class Pointer:
    """What the driver knows of an address.

    Attributes:
        kind: Where the memory is; ``unknown`` where the driver does not know the address: memory
            of the host that is not page-locked, freed, or none at all.
        device: Number of the device that it belongs to; None where it belongs to none.
        start: First address of the allocation.
        nbytes: Bytes of the allocation.
    """

    kind: MemoryKind
    device: int | None = None
    start: int = 0
    nbytes: int = 0

    def bytes_from(self, address: int) -> int:
        """How many bytes of the allocation lie at and behind an address."""
        return max(0, self.start + self.nbytes - address)


class DeviceMemory(Protocol):
    """Memory of the GPU that is ours."""

    @property
    def address(self) -> int:
        """Where it begins."""

    @property
    def nbytes(self) -> int:
        """How much it is."""

    def free(self) -> None:
        """Give it back. Work that uses it must be done. A second call does nothing."""


class PinnedMemory(Protocol):
    """Page-locked memory of the host, which the GPU copies at full speed.

    Attributes:
        array: The memory, C-contiguous; not to be used after :meth:`free`.
    """

    array: NDArray[Any]

    def free(self) -> None:
        """Give it back. Work that uses it must be done. A second call does nothing."""


class Stream(Protocol):
    """A queue of work, done in order. Ours do not wait for the default stream."""

    @property
    def handle(self) -> int:
        """The ``CUstream``, as TensorRT, ONNX Runtime and PyTorch take it."""

    def synchronize(self) -> None:
        """Wait until everything given to the stream is done."""

    def wait(self, event: Event) -> None:
        """Let what is given to the stream from now on wait for an event; returns at once."""

    def close(self) -> None:
        """Give the stream back, once its work is done; a stream of the caller's is left alone."""


class Event(Protocol):
    """A mark in a stream."""

    def record(self, stream: Stream) -> None:
        """Set the mark behind what was given to the stream so far."""

    def synchronize(self) -> None:
        """Wait until the stream comes to the mark."""

    def is_done(self) -> bool:
        """Whether the stream came to the mark."""

    def elapsed_ms(self, earlier: Event) -> float:
        """Milliseconds of the GPU's clock between two marks, both timed and both reached."""

    def close(self) -> None:
        """Give the event back. A second call does nothing."""


class Graph(Protocol):
    """Recorded work that is given to a stream by one call."""

    def launch(self, stream: Stream) -> None:
        """Do the recorded work, with the addresses that it was recorded with."""

    def close(self) -> None:
        """Give the graph back; launches of it must be done. A second call does nothing."""


class Function(Protocol):
    """A kernel of a module."""

    @property
    def name(self) -> str:
        """Its entry."""


class Module(Protocol):
    """Loaded kernels."""

    def function(self, name: str) -> Function:
        """A kernel by its entry.

        Raises:
            CudaError: The module has none of that name.
        """

    def unload(self) -> None:
        """Give it back; its kernels must be done. A second call does nothing."""


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch of a kernel.

    Attributes:
        entry: Name of the kernel.
        grid, block: Numbers of blocks and of threads in a block, x, y, z.
        arguments: In the kernel's order.
        shared_bytes: Dynamic shared memory of a block.
    """

    entry: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    arguments: tuple[Argument, ...]
    shared_bytes: int = 0


class CudaDevice(Protocol):
    """A GPU with its primary context, retained until :meth:`close`.

    Attributes:
        name: What the driver calls it.
        capability: Its compute capability, ``SM90``.
        ordinal: Its number among those that the process sees.
        multiprocessors: How many it has.
        api: The package that calls the driver, with its version: ``cuda-bindings 13.0.3``.
        no_graphs: Why work cannot be recorded as a graph; "" where it can.
    """

    name: str
    capability: str
    ordinal: int
    multiprocessors: int
    api: str
    no_graphs: str

    def __enter__(self) -> CudaDevice:
        """Make the context current in this thread."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put back what was current before."""

    def close(self) -> None:
        """Release the context; what was made of the device has to be given back before."""

    def allocate(self, nbytes: int) -> DeviceMemory:
        """Memory of the GPU; at least one byte.

        Raises:
            CudaError: There is not so much; the message tells how much is free.
        """

    def allocate_pinned(self, shape: Sequence[int], dtype: DTypeLike) -> PinnedMemory:
        """Page-locked memory of the host."""

    def create_stream(self) -> Stream:
        """A stream of its own."""

    def adopt_stream(self, stream: Any) -> Stream:
        """A stream of the caller's.

        Args:
            stream: An integer (``CUstream``; 0, 1 and 2 are CUDA's default streams), or an object
                with ``__cuda_stream__``, ``cuda_stream``, ``ptr`` or ``handle``, as those of
                cuda-core, PyTorch, CuPy and PyCUDA have. The object is kept as long as what is
                returned; an integer's stream has to outlive it.

        Raises:
            CudaError: It is none, or of another context.
        """

    def create_event(self, *, timed: bool = False) -> Event:
        """An event; only timed ones can tell times."""

    def copy_to_device(self, address: int, array: NDArray[Any], stream: Stream) -> None:
        """Start copying a C-contiguous array to the GPU."""

    def copy_to_host(self, array: NDArray[Any], address: int, stream: Stream) -> None:
        """Start copying from the GPU into a C-contiguous array."""

    def copy_on_device(self, to: int, source: int, nbytes: int, stream: Stream) -> None:
        """Start copying from the GPU to itself."""

    def fill_zero(self, address: int, nbytes: int, stream: Stream) -> None:
        """Start writing zeros."""

    def record(self, stream: Stream, work: Callable[[], None]) -> Graph:
        """Record what ``work`` gives to the stream, without doing it (thread-local capture).

        Raises:
            CudaError: The work cannot be recorded, or graphs are not to be had; the stream can be
                used afterwards.
            Exception: What ``work`` raises; the stream can be used afterwards.
        """

    def load(self, image: bytes) -> Module:
        """Kernels from PTX (text, ended by a zero or not) or a cubin.

        Raises:
            CudaError: The driver refuses it; the message has its log.
        """

    def launch(self, function: Function, launch: Launch, stream: Stream) -> None:
        """Start a kernel."""

    def look_up(self, address: int) -> Pointer:
        """What the driver knows of an address; never raises for a wrong one."""

    def memory(self) -> tuple[int, int]:
        """Free and total bytes of the GPU's memory."""
