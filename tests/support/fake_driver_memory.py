"""The memory of the fake GPU: host memory at real addresses, watched."""

from __future__ import annotations

import bisect
import ctypes
from typing import Any

import numpy as np

HOST, DEVICE = 1, 2  # CUmemorytype
ALIGNMENT = 256  # of what cuMemAlloc gives
FRESH, FREED = 0xCB, 0xDD  # what memory holds before it is written, and after it is freed


class MisuseError(AssertionError):
    """A rule of CUDA, or of :mod:`mahtrt.cuda.device`, was broken."""


class Allocation:
    """One piece of memory, never given out again, so that its use after :meth:`free` is seen."""

    __slots__ = ("alive", "buffer", "device", "kind", "managed", "nbytes", "start")

    def __init__(self, nbytes: int, kind: int, device: int, *, managed: bool = False) -> None:
        self.buffer = ctypes.create_string_buffer(nbytes + ALIGNMENT)
        begin = ctypes.addressof(self.buffer)
        self.start, self.nbytes = begin - begin % -ALIGNMENT, nbytes
        ctypes.memset(self.start, FRESH, nbytes)
        self.kind, self.device, self.managed, self.alive = kind, device, managed, True

    def free(self) -> None:
        self.alive = False
        ctypes.memset(self.start, FREED, self.nbytes)


class Memory:
    """All memory of a fake driver.

    Attributes:
        capacity: Bytes of device memory that there are.
        used: Bytes of device memory that are given out.
        pageable: Copies with memory of the host that is not page-locked.
        allow_pageable: Whether such copies are allowed. Their memory is read and written when the
            stream gets there, as if it were page-locked.
    """

    def __init__(self, capacity: int = 1 << 30) -> None:
        self.capacity, self.used, self.pageable = capacity, 0, 0
        self.allow_pageable = True
        self._starts: list[int] = []
        self._known: dict[int, Allocation] = {}

    def allocate(
        self, nbytes: int, kind: int, device: int = 0, *, managed: bool = False
    ) -> Allocation:
        made = Allocation(nbytes, kind, device, managed=managed)
        bisect.insort(self._starts, made.start)
        self._known[made.start] = made
        self.used += nbytes if kind == DEVICE else 0
        return made

    def free(self, address: int, kind: int) -> Allocation:
        """Give back what begins at an address."""
        found = self._known.get(address)
        if found is None or found.kind != kind:
            raise MisuseError(f"free of {address:#x}, where nothing of that kind begins")
        if not found.alive:
            raise MisuseError(f"double free of {address:#x}")
        found.free()
        self.used -= found.nbytes if kind == DEVICE else 0
        return found

    def find(self, address: int) -> Allocation | None:
        """What an address lies in, freed or not."""
        exact = self._known.get(address)
        if exact is not None:
            return exact
        index = bisect.bisect_right(self._starts, address) - 1
        found = self._known[self._starts[index]] if index >= 0 else None
        inside = found is not None and address < found.start + found.nbytes
        return found if inside else None

    def on_device(self, address: int, nbytes: int, what: str) -> Allocation:
        """Device memory that holds a range."""
        found = self.find(address)
        if found is None or found.kind != DEVICE:
            raise MisuseError(f"{what}: {address:#x} is no device memory")
        return _checked(found, address, nbytes, what)

    def on_host(self, address: int, nbytes: int, what: str) -> Allocation | None:
        """Page-locked memory that holds a range; None where it is pageable."""
        found = self.find(address)
        if found is None:
            self.pageable += 1
            if not self.allow_pageable:
                raise MisuseError(f"{what}: {address:#x} is not page-locked")
            return None
        if found.kind != HOST:
            raise MisuseError(f"{what}: {address:#x} is no memory of the host")
        return _checked(found, address, nbytes, what)

    def array(self, address: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Device memory as a kernel sees it."""
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self.on_device(address, nbytes, "a kernel")
        memory = (ctypes.c_char * nbytes).from_address(address)
        return np.ndarray(shape, dtype, memory)

    def alive(self) -> list[Allocation]:
        """What was not given back."""
        return [each for each in self._known.values() if each.alive]


def _checked(found: Allocation, address: int, nbytes: int, what: str) -> Allocation:
    if not found.alive:
        raise MisuseError(f"{what}: use of {address:#x} after free")
    if address + nbytes > found.start + found.nbytes:
        raise MisuseError(
            f"{what}: {nbytes} bytes at {address:#x}, of which "
            f"{found.start + found.nbytes - address} are there"
        )
    return found
