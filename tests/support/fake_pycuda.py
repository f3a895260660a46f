"""``pycuda.driver`` on the fake driver, with the functions, arguments and exceptions of PyCUDA.

As there, contexts lie on a stack of PyCUDA's own, of which only the top one is on that of CUDA;
streams, events and modules are given back when their objects are collected, and errors tell the
name of a call and a text, no code.
"""
# Classes and methods have PyCUDA's names.

from __future__ import annotations

import contextlib
import ctypes
import struct
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
from fake_driver import FakeDriver

TEXTS = {
    1: "invalid argument",
    2: "out of memory",
    201: "invalid device context",
    218: "a PTX JIT compilation failed",
    400: "invalid resource handle",
    500: "named symbol not found",
    600: "device not ready",
    700: "an illegal memory access was encountered",
    999: "unknown error",
}


class FakePycuda:
    """The module ``pycuda.driver``.

    Attributes:
        driver: What is under it.
        refuses_module: Whether it refuses the next module, with a log.
    """

    def __init__(self, driver: FakeDriver) -> None:
        self.driver, self.refuses_module = driver, False
        self._local = threading.local()
        self.Error = type("Error", (Exception,), {})
        self.LogicError = type("LogicError", (self.Error,), {})
        self.MemoryError = type("MemoryError", (self.Error,), {})
        self.device_attribute = SimpleNamespace(MULTIPROCESSOR_COUNT=16)
        self.event_flags = SimpleNamespace(DEFAULT=0, DISABLE_TIMING=2)
        for name in ("Device", "Context", "Stream", "Event"):
            setattr(self, name, type(name, (globals()[f"_{name}"],), {"cuda": self}))

    def ask(self, name: str, *arguments: Any) -> Any:
        code, *values = getattr(self.driver, name)(*arguments)
        if code:
            kind = self.MemoryError if code == 2 else self.LogicError
            raise kind(f"{name} failed: {TEXTS.get(int(code), 'unknown error')}")
        return values[0] if len(values) == 1 else tuple(values)

    @property
    def stack(self) -> list[int]:
        if not hasattr(self._local, "stack"):
            self._local.stack = []
        stack: list[int] = self._local.stack
        return stack

    def init(self, flags: int = 0) -> None:
        self.ask("cuInit", flags)

    def mem_alloc(self, nbytes: int) -> _Allocation:
        return _Allocation(self, self.ask("cuMemAlloc", nbytes))

    def mem_get_info(self) -> tuple[int, int]:
        free, total = self.ask("cuMemGetInfo")
        return free, total

    def mem_get_address_range(self, address: int) -> tuple[int, int]:
        assert self.stack
        found = self.driver.memory.find(address)
        if found is None or not found.alive or found.kind == 1:
            raise self.LogicError("cuMemGetAddressRange failed: invalid argument")
        return found.start, found.nbytes

    def pagelocked_empty(
        self, shape: int, dtype: Any, order: str = "C", mem_flags: int = 0
    ) -> np.ndarray:
        assert np.dtype(dtype) == np.uint8
        place = self.ask("cuMemHostAlloc", shape, mem_flags)
        return np.asarray(_PagelockedHostAllocation(self, place, shape))

    def memcpy_htod_async(self, dest: Any, src: Any, stream: Any = None) -> None:
        source = memoryview(src)
        place = np.frombuffer(source, np.uint8).ctypes.data
        self.ask("cuMemcpyHtoDAsync", int(dest), place, source.nbytes, _handle(stream))

    def memcpy_dtoh_async(self, dest: Any, src: Any, stream: Any = None) -> None:
        target = memoryview(dest)
        assert not target.readonly
        place = np.frombuffer(target, np.uint8).ctypes.data
        self.ask("cuMemcpyDtoHAsync", place, int(src), target.nbytes, _handle(stream))

    def memcpy_dtod_async(self, dest: int, src: int, size: int, stream: Any = None) -> None:
        self.ask("cuMemcpyDtoDAsync", int(dest), int(src), size, _handle(stream))

    def memset_d8_async(self, dest: int, data: int, size: int, stream: Any = None) -> None:
        self.ask("cuMemsetD8Async", int(dest), data, size, _handle(stream))

    def module_from_buffer(self, buffer: bytes) -> _Module:
        if b"BROKEN" in buffer:
            text = f"cuModuleLoadDataEx failed: {TEXTS[218]} - ptxas error : BROKEN"
            raise self.LogicError(text)
        return _Module(self, self.ask("cuModuleLoadDataEx", buffer, 0, [], []))


def _handle(stream: Any) -> int:
    return 0 if stream is None else int(stream.handle)


class _Device:
    cuda: FakePycuda

    def __init__(self, ordinal: int) -> None:
        self.number = self.cuda.ask("cuDeviceGet", ordinal)

    @classmethod
    def count(cls) -> int:
        return int(cls.cuda.ask("cuDeviceGetCount"))

    def name(self) -> str:
        told: bytes = self.cuda.ask("cuDeviceGetName", 256, self.number)
        return told.rstrip(b"\0").decode()

    def compute_capability(self) -> tuple[int, int]:
        return self.get_attribute(75), self.get_attribute(76)

    def get_attribute(self, attribute: int) -> int:
        return int(self.cuda.ask("cuDeviceGetAttribute", attribute, self.number))

    def retain_primary_context(self) -> _Context:
        context: type[_Context] = self.cuda.Context  # type: ignore[attr-defined]
        return context(self.cuda.ask("cuDevicePrimaryCtxRetain", self.number))


class _Context:
    cuda: FakePycuda

    def __init__(self, number: int) -> None:
        self.number = number

    def push(self) -> None:
        if self.cuda.stack:
            self.cuda.ask("cuCtxPopCurrent")
        self.cuda.ask("cuCtxPushCurrent", self.number)
        self.cuda.stack.append(self.number)

    @classmethod
    def pop(cls) -> None:
        cls.cuda.ask("cuCtxPopCurrent")
        cls.cuda.stack.pop()
        if cls.cuda.stack:
            cls.cuda.ask("cuCtxPushCurrent", cls.cuda.stack[-1])


class _Stream:
    cuda: FakePycuda

    def __init__(self, flags: int = 0) -> None:
        self.handle = self.cuda.ask("cuStreamCreate", flags)

    def synchronize(self) -> None:
        self.cuda.ask("cuStreamSynchronize", self.handle)

    def wait_for_event(self, event: _Event) -> None:
        self.cuda.ask("cuStreamWaitEvent", self.handle, event.number, 0)

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            with contextlib.suppress(self.cuda.Error):
                self.cuda.ask("cuStreamDestroy", self.handle)


class _Event:
    cuda: FakePycuda

    def __init__(self, flags: int = 0) -> None:
        self.number = self.cuda.ask("cuEventCreate", flags)

    def record(self, stream: Any = None) -> None:
        self.cuda.ask("cuEventRecord", self.number, _handle(stream))

    def synchronize(self) -> None:
        self.cuda.ask("cuEventSynchronize", self.number)

    def query(self) -> bool:
        code = self.cuda.driver.cuEventQuery(self.number)[0]
        if code not in (0, 600):
            raise self.cuda.LogicError("cuEventQuery failed: unknown error")
        return not code

    def time_since(self, event: _Event) -> float:
        return float(self.cuda.ask("cuEventElapsedTime", event.number, self.number))

    def __del__(self) -> None:
        if hasattr(self, "number"):
            with contextlib.suppress(self.cuda.Error):
                self.cuda.ask("cuEventDestroy", self.number)


class _Allocation:
    def __init__(self, cuda: FakePycuda, address: int) -> None:
        self.cuda, self.address = cuda, address

    def __int__(self) -> int:
        return self.address

    def free(self) -> None:
        self.cuda.ask("cuMemFree", self.address)


class _PagelockedHostAllocation:
    def __init__(self, cuda: FakePycuda, place: int, nbytes: int) -> None:
        self.cuda, self.place = cuda, place
        self.__array_interface__ = {
            "shape": (nbytes,),
            "typestr": "|u1",
            "data": (place, False),
            "version": 3,
        }

    def free(self) -> None:
        self.cuda.ask("cuMemFreeHost", self.place)


class _Module:
    def __init__(self, cuda: FakePycuda, number: int) -> None:
        self.cuda, self.number = cuda, number

    def get_function(self, name: str) -> _Function:
        return _Function(self, self.cuda.ask("cuModuleGetFunction", self.number, name.encode()))

    def __del__(self) -> None:
        with contextlib.suppress(self.cuda.Error):
            self.cuda.ask("cuModuleUnload", self.number)


class _Function:
    def __init__(self, module: _Module, number: int) -> None:
        self.module, self.number = module, number

    def __call__(self, *values: Any, **options: Any) -> None:
        """Arguments by the types of NumPy's scalars, as PyCUDA's ``_build_arg_buf`` has them."""
        assert set(options) == {"grid", "block", "shared", "stream"}
        assert all(isinstance(value, np.number) for value in values)
        kept = [
            ctypes.create_string_buffer(struct.pack(each.dtype.char, each), 16) for each in values
        ]
        places = (ctypes.c_void_p * len(kept))(*map(ctypes.addressof, kept))
        sizes = (*options["grid"], *options["block"], options["shared"])
        stream = _handle(options["stream"])
        place = ctypes.addressof(places) if kept else 0
        self.module.cuda.ask("cuLaunchKernel", self.number, *sizes, stream, place, 0)
