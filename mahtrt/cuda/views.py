"""Device memory of the caller's, whatever library it comes from: looked at, never copied.

Known are DLPack (PyTorch, CuPy, JAX, cuda-core; the Python array API standard), the CUDA array
interface (Numba, CuPy, PyCUDA; versions 2 and 3 of Numba's documentation), PyCUDA's ``GPUArray``,
and an address with a shape and a dtype. DLPack goes first: with it the library itself lets its
work end before ours begins. The others tell a stream to wait for, or trust the caller.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from mahtrt.cuda.device import CudaDevice, Pointer
from mahtrt.cuda.dlpack import read_dlpack
from mahtrt.errors import InputError, shown

LEGACY_STREAM = 1
MAPPING_BYTES = 2 << 20  # pieces that PyTorch's expandable segments consist of are multiples of it
_KNOWN = (
    "an array of the GPU with __dlpack__ or __cuda_array_interface__, a PyCUDA GPUArray, or "
    "(pointer, shape, dtype[, stream])"
)


@dataclass(frozen=True, slots=True)
class DeviceView:
    """Memory of a GPU that belongs to somebody else.

    Attributes:
        address: Where it begins.
        shape: Sizes of the array.
        dtype: Type of its elements, in the byte order of the machine.
        strides_bytes: Bytes from one element to the next along each axis; None where the array is
            C-contiguous.
        device: Number of the GPU; None where its library does not say.
        stream: Handle of a stream whose work has to be waited for first; None where nothing has.
        owner: Keeps the memory alive as long as the view lives.
        is_readonly: Whether it must not be written.
    """

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    strides_bytes: tuple[int, ...] | None = None
    device: int | None = None
    stream: int | None = None
    owner: Any = field(default=None, repr=False, compare=False)
    is_readonly: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """The view for other libraries, version 3."""
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, self.is_readonly),
            "strides": self.strides_bytes,
            "stream": self.stream,
            "version": 3,
        }


def device_view(source: Any, *, stream: int | None = None) -> DeviceView:
    """Look at device memory of another library.

    Args:
        source: A view; an array with ``__dlpack__`` or ``__cuda_array_interface__``; a PyCUDA
            ``GPUArray``; or (pointer, shape, dtype[, stream]), where the pointer is an integer or
            an object that becomes one, such as PyCUDA's ``DeviceAllocation``.
        stream: Handle of the stream that will use the memory, where it is known: a library that
            speaks DLPack lets it wait itself.

    Raises:
        InputError: It is nothing of these, not on a GPU, or says what cannot be used.
    """
    if isinstance(source, DeviceView):
        return source
    for matches, read in _FORMS:
        if matches(source):
            return read(source, stream)
    raise _refused(shown(source), _KNOWN)


def check_view(
    view: DeviceView,
    device: CudaDevice,
    shape: Sequence[int],
    dtype: DTypeLike,
    *,
    subject: str = "device memory",
    writable: bool = False,
) -> None:
    """Refuse a view that is not what is wanted, or that the driver does not know.

    Called with the device's context current.

    Args:
        device: Where the memory has to be.
        shape, dtype: What it has to hold, C-contiguous.
        subject: What it is for, for the message: ``input image``.
        writable: Whether it will be written.

    Raises:
        InputError: Another shape, dtype, layout or device, or an address that is no memory of the
            GPU any more, as far as the driver can tell.
    """
    wanted = np.dtype(dtype)
    if view.dtype != wanted:
        raise _refused(f"elements of {view.dtype}", str(wanted), subject)
    if view.shape != tuple(shape):
        raise _refused(f"shape {view.shape}", f"{tuple(shape)}", subject)
    if view.strides_bytes is not None:
        fix = "Make it contiguous first, .contiguous() in PyTorch."
        raise _refused(
            f"strides of {view.strides_bytes} bytes", "a C-contiguous array", subject, fix
        )
    if writable and view.is_readonly:
        raise _refused("memory that must not be written", "memory for results", subject)
    if view.address % wanted.itemsize:
        raise _refused(f"address {view.address:#x}", f"a multiple of {wanted.itemsize}", subject)
    check_place(view, device, view.nbytes, subject)


def check_place(
    view: DeviceView, device: CudaDevice, nbytes: int, subject: str = "device memory"
) -> None:
    """Refuse a view that is not of a device's memory, by what the driver says of its address.

    Args:
        nbytes: How much there has to be from the address on.

    Raises:
        InputError: Memory of the host or of another device, too little of it, or none any more.
    """
    here = f"memory of device {device.ordinal}"
    if view.device not in (None, device.ordinal):
        raise _refused(f"memory of device {view.device}", here, subject)
    if not nbytes:
        return
    found = device.look_up(view.address)
    if found.kind == "unknown":
        got = f"address {view.address:#x}, which the driver does not know"
        fix = "Has it been freed, or is it memory of the host?"
        raise _refused(got, here, subject, fix)
    if found.kind == "host":
        fix = "Give arrays of the host to run()."
        raise _refused("page-locked memory of the host", here, subject, fix)
    if found.kind == "device" and found.device != device.ordinal:
        raise _refused(f"memory of device {found.device}", here, subject)
    there = _bytes_there(view.address, device, found, nbytes)
    if there < nbytes:
        raise _refused(f"{there} bytes at {view.address:#x}", f"{nbytes} bytes", subject)


def _bytes_there(address: int, device: CudaDevice, found: Pointer, wanted: int) -> int:
    """How many bytes of one kind of memory lie at an address, by as many looks as that takes.

    Memory of ``cuMemMap`` can consist of several mappings side by side: PyTorch's with
    ``expandable_segments``. Asked for the range of an address, the driver tells of the whole
    reservation (``CU_POINTER_ATTRIBUTE_RANGE_SIZE``) or of one mapping (``cuMemGetAddressRange``,
    which is what PyCUDA has), as its documentation of ``cuPointerGetAttribute`` says. Other
    allocations that lie side by side are not taken for one, unless they end as mappings do.
    """
    there = found.bytes_from(address)
    while there < wanted and (address + there) % MAPPING_BYTES == 0:
        following = device.look_up(address + there)
        more = following.bytes_from(address + there)
        if (following.kind, following.device) != (found.kind, found.device) or not more:
            break
        there += more
    return there


def _refused(got: str, expected: str, subject: str = "device memory", fix: str = "") -> InputError:
    return InputError(subject, got=got, expected=expected, fix=fix)


def _from_dlpack(source: Any, stream: int | None) -> DeviceView:
    # The library makes this stream wait for its own work; without one of ours, the legacy one.
    wanted = stream or LEGACY_STREAM
    found = read_dlpack(source, wanted)
    return DeviceView(
        found.address,
        found.shape,
        found.dtype,
        _strides(found.shape, found.strides_bytes, found.dtype),
        found.device,
        None if wanted == stream else wanted,
        found.owner,
        found.is_readonly,
    )


def _from_interface(source: Any, _stream: int | None) -> DeviceView:
    what = "__cuda_array_interface__"
    try:
        told = source.__cuda_array_interface__
        version, (address, is_readonly) = int(told["version"]), told["data"]
        shape = tuple(int(size) for size in told["shape"])
        dtype = _dtype(told["typestr"])
        strides = told.get("strides")
        strides = None if strides is None else tuple(int(step) for step in strides)
        waits = _stream_of(told.get("stream"))
        masked = told.get("mask") is not None
        place = int(address or 0)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        told = f"{type(error).__name__} {' '.join(str(error).split())}"
        raise _refused(f"{what} that cannot be read: {told}", "version 2 or 3 of it") from error
    if version < 2:
        raise _refused(f"{what} of version {version}", "version 2 or 3")
    if masked:
        raise _refused(f"{what} with a mask", "an array without one")
    if len(strides or shape) != len(shape) or min(shape, default=0) < 0:
        raise _refused(f"{what} of shape {shape} and strides {strides}", "an array")
    strides = _strides(shape, strides, dtype)
    return DeviceView(place, shape, dtype, strides, None, waits, source, bool(is_readonly))


def _stream_of(told: Any) -> int | None:
    """The stream that an interface tells to wait for."""
    if told is None:
        return None
    # 0 could be the legacy stream or that of the thread: the interface forbids it.
    if isinstance(told, bool) or not isinstance(told, int) or told < 1:
        raise ValueError(f"stream {told!r}")
    return told


def _from_gpu_array(source: Any, _stream: int | None) -> DeviceView:
    """PyCUDA's, of versions that have no interface for other libraries."""
    shape, dtype = tuple(source.shape), np.dtype(source.dtype)
    strides = _strides(shape, tuple(source.strides), dtype)
    return DeviceView(_address(source.gpudata), shape, dtype, strides, owner=source)


def _from_tuple(source: Any, _stream: int | None) -> DeviceView:
    if len(source) not in (3, 4):
        raise _refused(f"{len(source)} values", _KNOWN)
    pointer, shape, dtype, *rest = source
    try:
        waits = _stream_of(rest[0]) if rest else None
        sizes, wanted = tuple(int(size) for size in shape), _dtype(dtype)
        address = _address(pointer)
    except (TypeError, ValueError) as error:
        raise _refused(f"{shown(source)} ({error})", _KNOWN) from error
    if min(sizes, default=0) < 0 or not 0 <= address < 2**64:
        raise _refused(shown(source), _KNOWN)
    return DeviceView(address, sizes, wanted, stream=waits, owner=pointer)


def _address(pointer: Any) -> int:
    """The number of a pointer; a CuPy ``MemoryPointer`` keeps it in ``ptr``."""
    return int(getattr(pointer, "ptr", pointer))


def _dtype(told: Any) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(told)
    if not dtype.isnative or dtype.hasobject:
        raise ValueError(f"elements of {dtype.str}")
    return dtype


def _strides(
    shape: tuple[int, ...], strides: tuple[int, ...] | None, dtype: np.dtype[Any]
) -> tuple[int, ...] | None:
    """None where an array with these strides is C-contiguous."""
    if strides is None or 0 in shape:
        return None
    step = dtype.itemsize
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != step:
            return strides
        step *= size
    return None


_FORMS: tuple[tuple[Callable[[Any], bool], Callable[[Any, int | None], DeviceView]], ...] = (
    (lambda source: isinstance(source, tuple), _from_tuple),
    (lambda source: hasattr(source, "__dlpack__"), _from_dlpack),
    (lambda source: hasattr(source, "__cuda_array_interface__"), _from_interface),
    (lambda source: hasattr(source, "gpudata"), _from_gpu_array),
)
