"""Memory through which arrays of any size go to the GPU: page-locked here, and plain there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.cuda.device import CudaDevice, DeviceMemory, PinnedMemory, Stream

ALIGNMENT = 256  # of each array on the GPU
_LEAST_BYTES = 1 << 16


class Staging:
    """Memory on both sides, which grows to the largest that was asked for.

    One thread at a time uses it, and never before the copies of the call before are done.
    """

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        self._pinned: PinnedMemory | None = None
        self._memory: DeviceMemory | None = None

    def copy(self, arrays: Sequence[NDArray[Any]], stream: Stream) -> list[int]:
        """Start copying C-contiguous arrays to the GPU, all at once.

        Returns:
            The address of each on the GPU.

        Raises:
            CudaError: There is not enough memory.
        """
        offsets, end = [], 0
        for array in arrays:
            assert array.flags.c_contiguous
            offsets.append(end)
            end += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
        pinned, memory = self._at_least(end)
        for offset, array in zip(offsets, arrays, strict=True):
            place = pinned.array[offset : offset + array.nbytes].view(array.dtype)
            np.copyto(place.reshape(array.shape), array)
        self._device.copy_to_device(memory.address, pinned.array[:end], stream)
        return [memory.address + offset for offset in offsets]

    def _at_least(self, nbytes: int) -> tuple[PinnedMemory, DeviceMemory]:
        if self._memory is None or self._pinned is None or self._memory.nbytes < nbytes:
            self.free()
            nbytes = max(_LEAST_BYTES, 1 << (nbytes - 1).bit_length())
            self._memory = self._device.allocate(nbytes)
            self._pinned = self._device.allocate_pinned((nbytes,), np.uint8)
        return self._pinned, self._memory

    def free(self) -> None:
        """Give it all back; it is made again where it is needed. A second call does nothing.

        Raises:
            CudaError: The last of the errors, after everything was tried.
        """
        pinned, memory, self._pinned, self._memory = self._pinned, self._memory, None, None
        try:
            if pinned is not None:
                pinned.free()
        finally:
            if memory is not None:
                memory.free()
