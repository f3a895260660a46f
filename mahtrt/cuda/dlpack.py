"""DLPack, read with nothing but ctypes: where an array of another library is on a GPU.

The structures are those of ``dlpack.h`` 1.0, and of 0.x for libraries that know no version. The
capsule is kept and not consumed: when it is collected, its own destructor calls the deleter, once,
as the Python array API standard asks of the library that made it.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np

from mahtrt.errors import InputError, shown

_CUDA, _CUDA_MANAGED = 2, 13  # DLDeviceType
_HOSTS = {1: "memory of the host", 3: "page-locked memory of the host"}
_MAX_VERSION = (1, 0)
_READ_ONLY = 1  # DLPACK_FLAG_BITMASK_READ_ONLY
_KINDS = {0: "i", 1: "u", 2: "f", 5: "c"}  # DLDataTypeCode
_BFLOAT, _BOOL = 4, 6
_CUDA_DEVICES = (_CUDA, _CUDA_MANAGED)


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Managed(ctypes.Structure):
    _fields_ = (
        ("tensor", _Tensor),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    )


class _Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


@dataclass(frozen=True, slots=True)
class DlpackArray:
    """What DLPack tells of an array on a GPU; ``owner`` keeps it alive."""

    address: int
    shape: tuple[int, ...]
    strides_bytes: tuple[int, ...] | None
    dtype: np.dtype[Any]
    device: int
    is_readonly: bool
    owner: Any


def read_dlpack(source: Any, stream: int) -> DlpackArray:
    """Where an array is.

    Args:
        source: An array with ``__dlpack__`` and ``__dlpack_device__``.
        stream: Handle of the stream that its library lets wait for its own work.

    Raises:
        InputError: It is not on a GPU, its library does not give it, or it has elements that NumPy
            does not know.
    """
    try:
        place = int(source.__dlpack_device__()[0])
        if place not in _CUDA_DEVICES:
            got = _HOSTS.get(place, f"memory of a device of kind {place}")
            fix = "Give arrays of the host to run()." if place in _HOSTS else ""
            raise _refused(got, "memory of a GPU", fix)
        capsule = _capsule(source, stream)
    except (AttributeError, BufferError, RuntimeError, TypeError, ValueError) as error:
        told = " ".join(str(error).split())
        raise _refused(f"an array that __dlpack__ does not give: {told}", "one") from error
    tensor, is_readonly = _opened(capsule)
    shape = tuple(tensor.shape[: tensor.ndim])
    dtype = _dtype(tensor)
    strides = None
    if tensor.strides:
        strides = tuple(step * dtype.itemsize for step in tensor.strides[: tensor.ndim])
    address = (tensor.data or 0) + tensor.byte_offset
    return DlpackArray(
        address, shape, strides, dtype, tensor.device_id, is_readonly, (capsule, source)
    )


def _capsule(source: Any, stream: int) -> Any:
    try:
        return source.__dlpack__(stream=stream, max_version=_MAX_VERSION)
    except TypeError:  # a library that knows no versions
        return source.__dlpack__(stream=stream)


def _opened(capsule: Any) -> tuple[_Tensor, bool]:
    """What is in a capsule, and whether it must not be written."""
    get_name, get_pointer = _python("GetName", ctypes.c_char_p), _python("GetPointer")
    try:
        name = get_name(capsule)
    except (ValueError, ctypes.ArgumentError) as error:
        raise _refused(f"{shown(capsule)} from __dlpack__", "a capsule") from error
    if name == b"dltensor":
        return _Managed.from_address(get_pointer(capsule, name)).tensor, False
    if name == b"dltensor_versioned":
        versioned = _Versioned.from_address(get_pointer(capsule, name))
        if versioned.major == _MAX_VERSION[0]:
            return versioned.tensor, bool(versioned.flags & _READ_ONLY)
        got = f"DLPack {versioned.major}.{versioned.minor}"
        raise _refused(got, f"DLPack {_MAX_VERSION[0]} or older")
    raise _refused(f"a capsule named {shown(name)}", "dltensor or dltensor_versioned")


def _python(name: str, answer: Any = ctypes.c_void_p) -> Any:
    """A function of CPython's for capsules."""
    types = [ctypes.py_object] + [ctypes.c_char_p] * (name == "GetPointer")
    return ctypes.PYFUNCTYPE(answer, *types)((f"PyCapsule_{name}", ctypes.pythonapi))


def _dtype(tensor: _Tensor) -> np.dtype[Any]:
    code, bits = tensor.code, tensor.bits
    if tensor.lanes == 1 and bits % 8 == 0:
        if code == _BOOL and bits == 8:
            return np.dtype(np.bool_)
        if code == _BFLOAT and bits == 16:
            return _bfloat16()
        try:
            return np.dtype(f"{_KINDS[code]}{bits // 8}")
        except (KeyError, TypeError):
            pass
    got = f"elements of kind {code}, {bits} bits, {tensor.lanes} lanes"
    raise _refused(got, "elements that NumPy knows")


def _bfloat16() -> np.dtype[Any]:
    from mahtrt.errors import require

    module = require("ml_dtypes", extra="export", needed_for="bfloat16 device memory")
    dtype: np.dtype[Any] = np.dtype(module.bfloat16)
    return dtype


def _refused(got: str, expected: str, fix: str = "") -> InputError:
    return InputError("device memory", got=got, expected=expected, fix=fix)
