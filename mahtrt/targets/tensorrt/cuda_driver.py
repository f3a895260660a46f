"""A small binding of the CUDA driver's C interface: what an engine needs to run, no package.

Only the *primary* context of a device is used, the one that TensorRT, PyTorch and every program
written for the CUDA runtime share. A context of its own would fight with them.

A :class:`CudaDevice` may be used from several threads; each enters it (``with device:``) around
its calls, which makes the context current in that thread and puts back what was current before.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.cuda.probe import CUDA_LIBRARY, NEED_GPU, CudaProbe, cuda_error_name, probe_cuda
from mahtrt.errors import MahtrtError, MissingComponentError

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: does not wait for the default stream
_OUT_OF_MEMORY = 2


def load_library(name: str) -> Any:
    """Open a shared library of the system. Raises OSError."""
    return ctypes.CDLL(name)


def open_device(*, needed_for: str) -> CudaDevice:
    """Retain the primary context of the first GPU.

    Args:
        needed_for: What the GPU is wanted for, for the message.

    Raises:
        MissingComponentError: There is no driver, or no device.
        MahtrtError: The driver refuses the context.
    """
    probe = probe_cuda(load_library)
    if probe.problem:
        raise MissingComponentError(
            needed_for, got=probe.problem, expected="an NVIDIA GPU", fix=NEED_GPU
        )
    return CudaDevice(load_library(CUDA_LIBRARY), probe)


class CudaDevice:
    """A GPU with its primary context.

    Attributes:
        probe: What the driver said about itself and its devices.
    """

    def __init__(self, library: Any, probe: CudaProbe) -> None:
        self.probe = probe
        self._library = library
        self._handle = ctypes.c_int(0)
        self._context = ctypes.c_void_p()
        self._call("cuDeviceGet", ctypes.byref(self._handle), 0)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), self._handle)
        self._open = True

    @property
    def name(self) -> str:
        """What the driver calls the device."""
        return self.probe.names[0]

    @property
    def capability(self) -> str:
        """Its compute capability, ``SM89``."""
        return self.probe.capabilities[0]

    def __enter__(self) -> CudaDevice:
        self._call("cuCtxPushCurrent_v2", self._context)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))

    def close(self) -> None:
        """Release the primary context; what was allocated has to be freed before."""
        if self._open:
            self._open = False
            self._call("cuDevicePrimaryCtxRelease_v2", self._handle)

    def allocate(self, size: int) -> int:
        """The address of ``size`` bytes of the GPU's memory.

        Raises:
            MahtrtError: There is not so much.
        """
        address = ctypes.c_uint64(0)
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        return address.value

    def free(self, address: int) -> None:
        """Give memory back."""
        self._call("cuMemFree_v2", ctypes.c_uint64(address))

    def allocate_pinned(self, shape: Sequence[int]) -> NDArray[np.float32]:
        """A float32 array in page-locked host memory, which the GPU copies at full speed.

        It is not freed with the array: see :meth:`free_pinned`.
        """
        count = math.prod(shape)
        place = ctypes.c_void_p()
        size = ctypes.c_size_t(max(count, 1) * 4)
        self._call("cuMemHostAlloc", ctypes.byref(place), size, ctypes.c_uint(0))
        assert place.value is not None
        memory = (ctypes.c_float * count).from_address(place.value)
        return np.ctypeslib.as_array(memory).reshape(tuple(shape))

    def free_pinned(self, array: NDArray[np.float32]) -> None:
        """Give page-locked memory back; the array must not be used any more."""
        self._call("cuMemFreeHost", ctypes.c_void_p(array.ctypes.data))

    def create_stream(self) -> int:
        """A stream of its own, which does not wait for the default stream."""
        stream = ctypes.c_void_p()
        self._call("cuStreamCreate", ctypes.byref(stream), ctypes.c_uint(_NON_BLOCKING))
        return stream.value or 0

    def destroy_stream(self, stream: int) -> None:
        """Give a stream back; its work is finished first."""
        self._call("cuStreamDestroy_v2", ctypes.c_void_p(stream))

    def synchronize(self, stream: int) -> None:
        """Wait until everything given to the stream is done."""
        self._call("cuStreamSynchronize", ctypes.c_void_p(stream))

    def copy_to_device(self, address: int, array: NDArray[np.float32], stream: int) -> None:
        """Start copying a C-contiguous array to the GPU; it must live until synchronized."""
        assert array.flags.c_contiguous
        self._call(
            "cuMemcpyHtoDAsync_v2",
            ctypes.c_uint64(address),
            ctypes.c_void_p(array.ctypes.data),
            ctypes.c_size_t(array.nbytes),
            ctypes.c_void_p(stream),
        )

    def copy_to_host(self, array: NDArray[np.float32], address: int, stream: int) -> None:
        """Start copying from the GPU into a C-contiguous array; valid when synchronized."""
        assert array.flags.c_contiguous
        self._call(
            "cuMemcpyDtoHAsync_v2",
            ctypes.c_void_p(array.ctypes.data),
            ctypes.c_uint64(address),
            ctypes.c_size_t(array.nbytes),
            ctypes.c_void_p(stream),
        )

    def memory(self) -> tuple[int, int]:
        """Free and total bytes of the GPU's memory."""
        free, total = ctypes.c_size_t(0), ctypes.c_size_t(0)
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def _call(self, name: str, *arguments: Any) -> None:
        """Call the driver.

        Raises:
            MahtrtError: It answers with an error, which is named.
        """
        code = getattr(self._library, name)(*arguments)
        if code == 0:
            return
        fix = ""
        if code == _OUT_OF_MEMORY:
            fix = "Close other programs on the GPU, or open fewer engines at once."
            with contextlib.suppress(MahtrtError):
                free, total = self.memory()
                fix = f"{free / 2**20:.0f} of {total / 2**20:.0f} MiB are free. {fix}"
        got = f"error {cuda_error_name(self._library, code)}"
        raise MahtrtError(f"CUDA: {name}", got=got, expected="success", fix=fix)
