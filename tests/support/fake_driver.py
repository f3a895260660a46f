"""``cuda.bindings.driver`` of a GPU that is not there, which checks how it is used.

It has the functions that :mod:`mahtrt.cuda.bindings` calls, with their arguments and answers. What
the real driver answers with an error gets that code here; what it leaves undefined (use after free,
double free, copies out of range) raises :class:`MisuseError`. Both are kept in ``violations``, so
that :meth:`FakeDriver.check` finds them at the end, and what was not given back.
"""
# The functions keep the names that the driver gives them.
# ruff: noqa: N802

from __future__ import annotations

import ctypes
import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from fake_driver_memory import DEVICE, HOST, Memory, MisuseError
from fake_driver_streams import (
    CAPTURED_EVENT,
    INVALIDATED,
    ISOLATION,
    UNJOINED,
    UNMATCHED,
    UNSUPPORTED,
    WRONG_THREAD,
    Capture,
    Event,
    GpuFaultError,
    GraphExec,
    Op,
    Order,
    RefusedError,
    Scheduler,
    Stream,
)

from mahtrt.cuda.device import STICKY

NAMES = {
    1: "CUDA_ERROR_INVALID_VALUE",
    2: "CUDA_ERROR_OUT_OF_MEMORY",
    100: "CUDA_ERROR_NO_DEVICE",
    201: "CUDA_ERROR_INVALID_CONTEXT",
    218: "CUDA_ERROR_INVALID_PTX",
    400: "CUDA_ERROR_INVALID_HANDLE",
    500: "CUDA_ERROR_NOT_FOUND",
    600: "CUDA_ERROR_NOT_READY",
    700: "CUDA_ERROR_ILLEGAL_ADDRESS",
    719: "CUDA_ERROR_LAUNCH_FAILED",
    900: "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
    901: "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
    904: "CUDA_ERROR_STREAM_CAPTURE_UNJOINED",
    905: "CUDA_ERROR_STREAM_CAPTURE_ISOLATION",
    999: "CUDA_ERROR_UNKNOWN",
}
INVALID_VALUE, OUT_OF_MEMORY, INVALID_CONTEXT, INVALID_HANDLE = 1, 2, 201, 400
INVALID_PTX, NOT_FOUND, NOT_READY = 218, 500, 600
# What gives something back does so whatever it answers.
GIVING_BACK = (
    *("cuMemFree", "cuMemFreeHost", "cuStreamDestroy", "cuEventDestroy", "cuGraphDestroy"),
    *("cuGraphExecDestroy", "cuModuleUnload", "cuDevicePrimaryCtxRelease", "cuCtxPopCurrent"),
    "cuStreamEndCapture",
)
# What a thread must not do while it captures.
NOT_IN_CAPTURE = (
    *("cuMemAlloc", "cuMemFree", "cuMemHostAlloc", "cuMemFreeHost", "cuEventQuery"),
    *("cuEventSynchronize", "cuModuleLoadDataEx", "cuModuleUnload"),
)
WITHOUT_CONTEXT = (
    *("cuInit", "cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetName", "cuDeviceGetAttribute"),
    *("cuDevicePrimaryCtxRetain", "cuDevicePrimaryCtxRelease", "cuCtxPushCurrent"),
    *("cuGetErrorName", "cuGetErrorString"),
)


class CUdevice_attribute(IntEnum):  # noqa: N801
    CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76


class CUstreamCaptureMode(IntEnum):
    CU_STREAM_CAPTURE_MODE_GLOBAL = 0
    CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1
    CU_STREAM_CAPTURE_MODE_RELAXED = 2


class CUjit_option(IntEnum):  # noqa: N801
    CU_JIT_ERROR_LOG_BUFFER = 5
    CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES = 6


class CUpointer_attribute(IntEnum):  # noqa: N801
    CU_POINTER_ATTRIBUTE_MEMORY_TYPE = 2
    CU_POINTER_ATTRIBUTE_IS_MANAGED = 8
    CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL = 9
    CU_POINTER_ATTRIBUTE_RANGE_START_ADDR = 11
    CU_POINTER_ATTRIBUTE_RANGE_SIZE = 12


@dataclass(frozen=True, slots=True)
class FakeGpuModel:
    """A GPU that the fake driver tells of."""

    name: str = "NVIDIA H200"
    capability: tuple[int, int] = (9, 0)
    multiprocessors: int = 132


@dataclass(frozen=True, slots=True)
class Kernel:
    """What stands for a kernel.

    Attributes:
        types: Of its parameters.
        run: Called with the driver's memory, grid, block, and the values of the arguments.
    """

    types: tuple[Any, ...]
    run: Callable[..., None]


class FakeDriver:
    """The module; see above.

    Attributes:
        kernels: Entry to what it does. A module has those whose names are in its image; an image
            with ``BROKEN`` in it is refused.
        memory, scheduler: Where everything happens.
        violations: The rules that were broken, in words.
        calls: Name of each call, in order, where ``keep_calls`` is set.
        count: How many calls there were.
        lost: The sticky error that every call answers with; 0 before there is one.
    """

    CUdevice_attribute: Any = CUdevice_attribute
    CUstreamCaptureMode: Any = CUstreamCaptureMode
    CUjit_option: Any = CUjit_option
    CUpointer_attribute: Any = CUpointer_attribute
    CUstream: Any = int

    def __init__(
        self,
        *,
        order: Order = "lazy",
        seed: int = 0,
        gpus: Sequence[FakeGpuModel] = (FakeGpuModel(),),
        capacity: int = 1 << 30,
    ) -> None:
        self.gpus, self.kernels = tuple(gpus), dict[str, Kernel]()
        self.memory, self.scheduler = Memory(capacity), Scheduler(order, seed)
        self.violations, self.calls = list[str](), list[str]()
        self.keep_calls, self.count, self.lost = False, 0, 0
        self.retained = [0] * len(self.gpus)
        self._stacks: dict[int, list[int]] = {}
        self._events, self._graphs = dict[int, Event](), dict[int, list[Op]]()
        self._execs, self._modules = dict[int, GraphExec](), dict[int, bytes]()
        self._functions = dict[int, str]()
        self._others = {0, 2}  # streams that are not to be given back
        self._captures: dict[int, Capture] = {}  # thread -> what it captures
        self._handles = itertools.count(0x7000, 0x10)
        self._lock = threading.RLock()
        self._armed = False
        self._faults: dict[tuple[str, int], int] = {}
        self._counted: dict[str, int] = {}
        for name in dir(type(self)):
            if name.startswith("do_"):
                setattr(self, name[3:], self._checked(name[3:], getattr(self, name)))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the fake driver has no {name}")

    # What tests ask of it.

    def fail(self, name: str, code: int, *, at: int = 1) -> None:
        """Let the next, or the ``at``-th call from now of a function answer with an error.

        Args:
            name: Of the function; ``*`` counts the calls of all functions.
        """
        self._armed = True
        self._faults[name, self._counted.get(name, 0) + at] = code

    def submit(
        self, stream: int, run: Callable[[], None], addresses: Sequence[int] = (), ms: float = 1.0
    ) -> None:
        """Give work to a stream, as a library does that is not seen."""
        with self._lock:
            uses = [self.memory.on_device(address, 1, "submitted work") for address in addresses]
            self.scheduler.give(self._stream(stream), Op("submitted", run, uses, ms=ms))

    def invalidate_capture(self, stream: int) -> None:
        """What a library does that cannot be captured."""
        capture = self._stream(stream).capture
        if capture is not None:
            capture.invalid = True

    def is_capturing(self, stream: int) -> bool:
        return self._stream(stream).capture is not None

    def foreign(self, nbytes: int, *, device: int = 0, managed: bool = False) -> int:
        """Device memory of another library; :meth:`drop` gives it back."""
        return self.memory.allocate(nbytes, DEVICE, device, managed=managed).start

    def drop(self, address: int) -> None:
        """Give back what another library allocated."""
        self.memory.free(address, DEVICE)

    def foreign_stream(self, context: int | None = None) -> int:
        """A stream of another library; of the primary context where no other is given."""
        handle = next(self._handles)
        self.scheduler.streams[handle] = Stream(handle, context or self._primary(0))
        self._others.add(handle)
        return handle

    def leaks(self, *, is_open: bool = False) -> list[str]:
        """What was not given back, in words; contexts count unless a device is open."""
        found = [f"{each.nbytes} bytes at {each.start:#x}" for each in self.memory.alive()]
        for what, table in (
            ("stream", self.scheduler.streams),
            ("event", self._events),
            ("graph", self._graphs),
            ("executable graph", self._execs),
            ("module", self._modules),
            ("capture", self._captures),
        ):
            found += [f"{what} {handle:#x}" for handle in table if handle not in self._others]
        contexts = [f"context of device {i}" for i, count in enumerate(self.retained) if count]
        found += [] if is_open else contexts
        return found + [f"current context of thread {t}" for t, s in self._stacks.items() if s]

    def check(self) -> None:
        """Everything was used well and given back."""
        assert not self.violations, "; ".join(self.violations[:5])
        assert not self.leaks(), "; ".join(self.leaks()[:5])

    # How every call goes.

    def _checked(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        needs_context, gives_back = name not in WITHOUT_CONTEXT, name in GIVING_BACK
        tells, forbidden = name.startswith("cuGetError"), name in NOT_IN_CAPTURE

        def call(*arguments: Any) -> tuple[Any, ...]:
            with self._lock:
                self.count += 1
                if self.keep_calls:
                    self.calls.append(name)
                code = self._fault(name) if self._armed and not tells else 0
                if code and not gives_back:
                    return (code, None)
                thread = threading.get_ident()
                try:
                    if needs_context and not self.lost and not self._stacks.get(thread):
                        if name == "cuMemGetInfo":  # asked for the message of an error
                            raise RefusedError(INVALID_CONTEXT)
                        raise self._broken(INVALID_CONTEXT, f"{name} without a current context")
                    if forbidden and thread in self._captures and not self.lost:
                        self._captures[thread].invalid = True
                        raise self._broken(UNSUPPORTED, f"{name} during a capture")
                    answer = function(*arguments)
                except RefusedError as refused:
                    return (code or refused.code, None)
                except GpuFaultError as fault:
                    self._lose(fault.code)
                    return (code or fault.code, None)
                except MisuseError as violation:
                    self.violations.append(str(violation))
                    raise
                if code and name == "cuStreamEndCapture":
                    del self._graphs[answer]  # an error comes without a graph
                return (code, *answer) if isinstance(answer, tuple) else (code, answer)

        return call

    def _fault(self, name: str) -> int:
        code = 0
        for counted in (name, "*"):
            number = self._counted[counted] = self._counted.get(counted, 0) + 1
            code = code or self._faults.get((counted, number), 0)
        if code in STICKY:
            self._lose(code)
        return self.lost or code

    def _lose(self, code: int) -> None:
        self.lost, self._armed = code, True
        self.scheduler.drop_all()

    def _broken(self, code: int, rule: str) -> RefusedError:
        self.violations.append(rule)
        return RefusedError(code)

    def _primary(self, device: int) -> int:
        return 0x4200 + device

    def _stream(self, handle: int) -> Stream:
        handle = 0 if handle == 1 else int(handle)  # the legacy stream has two numbers
        if handle in (0, 2) and handle not in self.scheduler.streams:
            self.scheduler.streams[handle] = Stream(handle, self._primary(0))
        found = self.scheduler.streams.get(handle)
        if found is None:
            raise MisuseError(f"use of stream {handle:#x}, which is none")
        return found

    def _working(self, handle: int) -> Stream:
        """A stream that work is given to."""
        stream, capture = self._stream(handle), self._captures.get(threading.get_ident())
        if stream.handle == 0 and capture is not None:
            capture.invalid = True
            raise self._broken(906, "work on the legacy stream during a capture")
        if stream.capture is not None and stream.capture.invalid:
            raise RefusedError(INVALIDATED)
        return stream

    def _event(self, handle: int) -> Event:
        if handle not in self._events:
            raise MisuseError(f"use of event {handle:#x}, which is none")
        return self._events[handle]

    # The device and its context.

    def do_cuInit(self, flags: int) -> None:
        assert flags == 0

    def do_cuDeviceGetCount(self) -> int:
        return len(self.gpus)

    def do_cuDeviceGet(self, ordinal: int) -> int:
        return ordinal

    def do_cuDeviceGetName(self, length: int, device: int) -> bytes:
        return self.gpus[device].name.encode().ljust(length, b"\0")

    def do_cuDeviceGetAttribute(self, attribute: int, device: int) -> int:
        gpu = self.gpus[device]
        return {16: gpu.multiprocessors, 75: gpu.capability[0], 76: gpu.capability[1]}[attribute]

    def do_cuDevicePrimaryCtxRetain(self, device: int) -> int:
        self.retained[device] += 1
        return self._primary(device)

    def do_cuDevicePrimaryCtxRelease(self, device: int) -> None:
        if not self.retained[device]:
            raise MisuseError("release of a context that is not retained")
        self.retained[device] -= 1

    def do_cuCtxPushCurrent(self, context: int) -> None:
        if not self.retained[context - self._primary(0)]:
            raise MisuseError("use of a context that is not retained")
        self._stacks.setdefault(threading.get_ident(), []).append(context)

    def do_cuCtxPopCurrent(self) -> int:
        return self._stacks[threading.get_ident()].pop()

    def do_cuGetErrorName(self, code: int) -> bytes:
        if code not in NAMES:
            raise RefusedError(INVALID_VALUE)
        return NAMES[code].encode()

    def do_cuGetErrorString(self, code: int) -> bytes:
        return self.do_cuGetErrorName(code).removeprefix(b"CUDA_ERROR_").replace(b"_", b" ").lower()

    # Memory.

    def do_cuMemAlloc(self, nbytes: int) -> int:
        if self.memory.used + nbytes > self.memory.capacity:
            raise RefusedError(OUT_OF_MEMORY)
        device = self._stacks[threading.get_ident()][-1] - self._primary(0)
        return self.memory.allocate(nbytes, DEVICE, device).start

    def do_cuMemHostAlloc(self, nbytes: int, flags: int) -> int:
        return self.memory.allocate(nbytes, HOST).start

    def do_cuMemFree(self, address: int) -> None:
        self._free(address, DEVICE)

    def do_cuMemFreeHost(self, address: int) -> None:
        self._free(address, HOST)

    def _free(self, address: int, kind: int) -> None:
        found = self.memory.find(address)
        if any(found is each for op in self.scheduler.pending() for each in op.uses):
            self.violations.append(f"free of {address:#x}, which work under way uses")
        self.memory.free(address, kind)

    def do_cuMemGetInfo(self) -> tuple[int, int]:
        return self.memory.capacity - self.memory.used, self.memory.capacity

    def do_cuPointerGetAttributes(
        self, count: int, wanted: Sequence[int], address: int
    ) -> list[int]:
        found = self.memory.find(address)
        if found is None or not found.alive:
            return [2**32 - 2 if each == 9 else 0 for each in wanted]
        facts = {2: found.kind, 8: int(found.managed), 9: found.device, 11: found.start}
        return [(facts | {12: found.nbytes})[each] for each in wanted]

    def do_cuMemcpyHtoDAsync(self, to: int, source: int, nbytes: int, stream: int) -> None:
        memory, name = self.memory, "cuMemcpyHtoDAsync"
        uses = memory.on_device(to, nbytes, name), memory.on_host(source, nbytes, name)
        self._copy(name, to, source, nbytes, stream, uses)

    def do_cuMemcpyDtoHAsync(self, to: int, source: int, nbytes: int, stream: int) -> None:
        memory, name = self.memory, "cuMemcpyDtoHAsync"
        uses = memory.on_host(to, nbytes, name), memory.on_device(source, nbytes, name)
        self._copy(name, to, source, nbytes, stream, uses)

    def do_cuMemcpyDtoDAsync(self, to: int, source: int, nbytes: int, stream: int) -> None:
        memory, name = self.memory, "cuMemcpyDtoDAsync"
        uses = memory.on_device(to, nbytes, name), memory.on_device(source, nbytes, name)
        self._copy(name, to, source, nbytes, stream, uses)

    def _copy(
        self, name: str, to: int, source: int, nbytes: int, stream: int, uses: Sequence[Any]
    ) -> None:
        def run() -> None:
            ctypes.memmove(to, source, nbytes)

        self.scheduler.give(self._working(stream), Op(name, run, uses))

    def do_cuMemsetD8Async(self, to: int, value: int, nbytes: int, stream: int) -> None:
        def run() -> None:
            ctypes.memset(to, value, nbytes)

        uses = [self.memory.on_device(to, nbytes, "cuMemsetD8Async")]
        self.scheduler.give(self._working(stream), Op("cuMemsetD8Async", run, uses))

    # Streams, events, graphs.

    def do_cuStreamCreate(self, flags: int) -> int:
        if flags != 1:
            self.violations.append("a stream that waits for the default stream")
        context, handle = self._stacks[threading.get_ident()][-1], next(self._handles)
        self.scheduler.streams[handle] = Stream(handle, context)
        return handle

    def do_cuStreamDestroy(self, handle: int) -> None:
        stream = self._stream(handle)
        if stream.queue or stream.capture is not None:
            self.violations.append(f"stream {handle:#x} destroyed while it works")
        del self.scheduler.streams[handle]

    def do_cuStreamSynchronize(self, handle: int) -> None:
        stream = self._stream(handle)
        if stream.capture is not None:
            stream.capture.invalid = True
            raise self._broken(UNSUPPORTED, "cuStreamSynchronize of a stream that is captured")
        self.scheduler.finish(stream)

    def do_cuStreamGetCtx(self, handle: int) -> int:
        if handle in (0, 1, 2):
            return self._stacks[threading.get_ident()][-1]
        return self._stream(handle).context

    def do_cuStreamWaitEvent(self, handle: int, event: int, flags: int) -> None:
        stream, known = self._working(handle), self._event(event)
        if known.captured is not None:
            capture, mark = known.captured
            if stream.capture not in (None, capture):
                raise self._broken(902, "a wait that would merge two captures")
            capture.join(stream, mark)
        elif stream.capture is not None:
            stream.capture.invalid = True
            raise self._broken(ISOLATION, "a captured stream that waits for work outside")
        elif known.mark is not None:
            self.scheduler.give(stream, Op("cuStreamWaitEvent", wait=known.mark, ms=0.0))

    def do_cuEventCreate(self, flags: int) -> int:
        handle = next(self._handles)
        self._events[handle] = Event(timed=not flags & 2)
        return handle

    def do_cuEventDestroy(self, handle: int) -> None:
        event = self._event(handle)
        # CUDA allows it; who does it to its own stream did not wait for its work.
        ours = event.mark is not None and event.mark[0].handle not in self._others
        if ours and not event.is_done:
            self.violations.append(f"event {handle:#x} destroyed before it is reached")
        del self._events[handle]

    def do_cuEventRecord(self, handle: int, stream_handle: int) -> None:
        event, stream = self._event(handle), self._working(stream_handle)
        if stream.capture is not None:
            event.captured, event.mark = (stream.capture, stream.capture.mark(stream)), None
            return

        def reach() -> None:
            event.ms = self.scheduler.now_ms

        event.captured, event.mark = None, (stream, stream.given + 1)
        self.scheduler.give(stream, Op("cuEventRecord", reach, ms=0.0))

    def do_cuEventQuery(self, handle: int) -> None:
        event = self._event(handle)
        if event.captured is not None:
            raise self._broken(CAPTURED_EVENT, "cuEventQuery of an event in a capture")
        if not event.is_done:
            raise RefusedError(NOT_READY)

    def do_cuEventSynchronize(self, handle: int) -> None:
        event = self._event(handle)
        if event.captured is not None:
            raise self._broken(CAPTURED_EVENT, "cuEventSynchronize of an event in a capture")
        if event.mark is not None:
            self.scheduler.finish(*event.mark)

    def do_cuEventElapsedTime(self, start: int, end: int) -> float:
        first, last = self._event(start), self._event(end)
        if not (first.timed and last.timed) or first.mark is None or last.mark is None:
            raise self._broken(INVALID_HANDLE, "the time of an event that is untimed or unrecorded")
        if not (first.is_done and last.is_done):
            raise RefusedError(NOT_READY)
        return last.ms - first.ms

    def do_cuStreamBeginCapture(self, handle: int, mode: IntEnum) -> None:
        stream, thread = self._stream(handle), threading.get_ident()
        if mode is not CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL:
            self.violations.append("a capture that is not thread-local")
        if stream.handle == 0 or stream.capture is not None or thread in self._captures:
            raise RefusedError(UNSUPPORTED)
        stream.capture = self._captures[thread] = Capture(stream, thread)

    def do_cuStreamEndCapture(self, handle: int) -> int:
        stream, thread = self._stream(handle), threading.get_ident()
        capture = stream.capture
        if capture is None:
            raise RefusedError(UNMATCHED)
        if capture.thread != thread:
            raise self._broken(WRONG_THREAD, "a capture ended by another thread")
        del self._captures[thread]
        capture.end()
        if capture.invalid:
            raise RefusedError(INVALIDATED)
        if capture.origin is not stream or not capture.is_joined:
            raise self._broken(UNJOINED, "a capture with a stream that was not joined again")
        graph = next(self._handles)
        self._graphs[graph] = capture.ops
        return graph

    def do_cuGraphInstantiate(self, graph: int, flags: int) -> int:
        handle = next(self._handles)
        self._execs[handle] = GraphExec(list(self._graphs[graph]))
        return handle

    def do_cuGraphLaunch(self, handle: int, stream: int) -> None:
        if handle not in self._execs:
            raise MisuseError(f"launch of graph {handle:#x}, which is none")
        op = Op("cuGraphLaunch", graph=self._execs[handle])
        self.scheduler.give(self._working(stream), op)

    def do_cuGraphDestroy(self, graph: int) -> None:
        if self._graphs.pop(graph, None) is None:
            raise MisuseError(f"double destruction of graph {graph:#x}")

    def do_cuGraphExecDestroy(self, handle: int) -> None:
        found = self._execs.pop(handle, None)
        if found is None:
            raise MisuseError(f"double destruction of executable graph {handle:#x}")
        if found.pending and not self.lost:
            self.violations.append(f"graph {handle:#x} destroyed while it works")

    # Kernels.

    def do_cuModuleLoadDataEx(
        self, image: bytes, count: int, options: list[Any], values: list[Any]
    ) -> int:
        assert image.startswith(b"\x7fELF") or image.endswith(b"\0"), "PTX ends with a zero"
        if b"BROKEN" in image:
            text = b"ptxas error   : BROKEN is\n   no instruction"
            values[options.index(CUjit_option.CU_JIT_ERROR_LOG_BUFFER)][: len(text)] = text
            raise RefusedError(INVALID_PTX)
        handle = next(self._handles)
        self._modules[handle] = image
        return handle

    def do_cuModuleGetFunction(self, module: int, name: bytes) -> int:
        if name not in self._modules[module] or name.decode() not in self.kernels:
            raise RefusedError(NOT_FOUND)
        handle = next(self._handles)
        self._functions[handle] = name.decode()
        return handle

    def do_cuModuleUnload(self, module: int) -> None:
        if self._modules.pop(module, None) is None:
            raise MisuseError(f"double unload of module {module:#x}")

    def do_cuLaunchKernel(self, function: int, *rest: Any) -> None:
        grid, block, stream, place = rest[:3], rest[3:6], rest[7], rest[8]
        name = self._functions[function]
        kernel = self.kernels[name]
        if min(*grid, *block) < 1 or block[0] * block[1] * block[2] > 1024:
            raise self._broken(INVALID_VALUE, f"{name}: grid {grid}, block {block}")
        count = len(kernel.types)
        places = (ctypes.c_void_p * count).from_address(place) if count else ()
        # Arguments are read now, memory when the stream gets there.
        values = [
            each.from_address(at).value for each, at in zip(kernel.types, places, strict=True)
        ]

        def run() -> None:
            kernel.run(self.memory, grid, block, *values)

        addresses = [v for v, t in zip(values, kernel.types, strict=True) if t is ctypes.c_void_p]
        uses = [self.memory.on_device(address, 1, name) for address in addresses if address]
        self.scheduler.give(self._working(stream), Op(name, run, uses))
