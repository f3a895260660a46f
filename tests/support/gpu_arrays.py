"""Arrays that say they are on a GPU, by each of the protocols; their memory is the host's."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from mahtrt.cuda import dlpack

_DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_DESTRUCTOR = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, _DESTRUCTOR)(
    ("PyCapsule_New", ctypes.pythonapi)
)
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_IsValid", ctypes.pythonapi)
)


class Dlpack:
    """An array with ``__dlpack__``.

    Attributes:
        streams: What it was told to make wait.
        deleted: How often its deleter was called.
        fields: Of the tensor, to be changed before it is given.
    """

    def __init__(self, array: np.ndarray, *, versioned: bool, place: int = 2, device: int = 0):
        self.array, self.versioned, self.place, self.device = array, versioned, place, device
        self.streams: list[int | None] = []
        self.deleted, self.major, self.flags = 0, 1, 0
        self.name = b"dltensor_versioned" if versioned else b"dltensor"
        kinds = {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}
        self.fields: dict[str, Any] = {
            "data": array.ctypes.data,
            "device_type": place,
            "device_id": device,
            "ndim": array.ndim,
            "code": kinds[array.dtype.kind],
            "bits": array.dtype.itemsize * 8,
            "lanes": 1,
            "byte_offset": 0,
        }
        self._keeps: list[Any] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.place, self.device

    def __dlpack__(self, *, stream: int | None = None, **options: Any) -> Any:
        if options and not self.versioned:
            raise TypeError("unexpected keyword argument 'max_version'")
        self.streams.append(stream)
        shape = (ctypes.c_int64 * self.array.ndim)(*self.array.shape)
        steps = [step // self.array.itemsize for step in self.array.strides]
        strides = (ctypes.c_int64 * self.array.ndim)(*steps)
        kind: Any = dlpack._Versioned if self.versioned else dlpack._Managed
        managed = kind()
        for name, value in self.fields.items():
            setattr(managed.tensor, name, value)
        for name, sizes in (("shape", shape), ("strides", strides)):
            setattr(managed.tensor, name, ctypes.cast(sizes, ctypes.POINTER(ctypes.c_int64)))
        if self.versioned:
            managed.major, managed.flags = self.major, self.flags

        def delete(_: int) -> None:
            self.deleted += 1

        def destroy(capsule: int) -> None:
            if _is_valid(capsule, self.name):  # else a consumer took it over, and its deleter
                delete(0)

        destructor = _DESTRUCTOR(destroy)
        self._keeps += [managed, shape, strides, destructor]
        return _new(ctypes.addressof(managed), self.name, destructor)


class CudaArray:
    """An array with ``__cuda_array_interface__``, of which parts can be changed."""

    def __init__(self, array: np.ndarray, **changes: Any) -> None:
        self.array = array
        self.told = {
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (array.ctypes.data, False),
            "version": 3,
            "strides": None,
            "stream": None,
        } | changes

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return self.told
