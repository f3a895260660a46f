"""What work under way still uses, kept alive until an event behind that work is reached."""

from __future__ import annotations

import contextlib
from collections import deque

from mahtrt.cuda.device import CudaDevice, Event, Stream

MOST_KEPT = 16


class Keeper:
    """Objects of callers, kept for the work of one stream; the device's context is current.

    A library that has its memory back may hand it out again on a stream that never waited for ours
    (PyTorch's notes on CUDA, "Use of CUDA streams with tensor.record_stream").
    """

    def __init__(self, device: CudaDevice, stream: Stream) -> None:
        self._device, self._stream = device, stream
        self._kept: deque[tuple[Event, tuple[object, ...]]] = deque()
        self._spare: list[Event] = []

    def keep(self, owners: tuple[object, ...]) -> None:
        """Keep objects until the stream's work so far is done.

        Waits for the oldest work where there is more than :data:`MOST_KEPT` of it, so that what is
        kept does not grow when the GPU is behind.

        Raises:
            CudaError: The GPU failed.
        """
        while len(self._kept) >= MOST_KEPT:
            self._kept[0][0].synchronize()
            self._drop_first()
        event = self._spare.pop() if self._spare else self._device.create_event()
        self._kept.append((event, owners))  # before the call that may fail
        event.record(self._stream)

    def drop_done(self) -> None:
        """Let go what is not used any more; never waits.

        Raises:
            CudaError: The GPU failed.
        """
        while self._kept and self._kept[0][0].is_done():
            self._drop_first()

    def _drop_first(self) -> None:
        event, _owners = self._kept.popleft()
        self._spare.append(event)

    def close(self) -> None:
        """Let everything go; the stream's work must be done.

        Raises:
            CudaError: The last of the errors, after everything was tried.
        """
        with contextlib.ExitStack() as stack:
            for event in (*self._spare, *(event for event, _ in self._kept)):
                stack.callback(event.close)
            self._spare.clear()
            self._kept.clear()
