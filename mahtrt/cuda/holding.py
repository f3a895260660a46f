"""What a caller holds of a pool: an inference under way, or its outputs on the GPU."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from mahtrt.cuda.device import Stream, gpu_label
from mahtrt.cuda.slots import Array, Slot
from mahtrt.cuda.views import DeviceView
from mahtrt.errors import MahtrtError

if TYPE_CHECKING:
    from mahtrt.cuda.pool import SlotPool


class Holding:
    """A slot kept over several calls; it goes back to its pool once."""

    def __init__(self, pool: SlotPool, slot: Slot) -> None:
        self.pool, self.slot = pool, slot
        self._lock, self._held = threading.Lock(), True
        self._harmed = True

    @contextlib.contextmanager
    def unharmed(self) -> Iterator[None]:
        """Inside :meth:`on_error`, what comes before the slot's work: the slot goes back."""
        try:
            yield
        except MahtrtError:
            self._harmed = False
            raise

    @contextlib.contextmanager
    def on_error(self) -> Iterator[None]:
        """Beside other calls, in the device's context; an error ends the holding and its slot."""
        try:
            with self.pool.beside_others(), self.pool.device:
                yield
        except BaseException as error:
            self.give_back(error if self._harmed else None)
            raise

    def give_back(self, error: BaseException | None = None, stream: Stream | None = None) -> None:
        """End the holding; a second call does nothing.

        Args:
            error: What went wrong with the slot; it is freed.
            stream: A stream that may still read the slot's memory.
        """
        with self._lock:
            was_held, self._held = self._held, False
        if not was_held:
            return
        try:
            with self.pool.beside_others():
                if error is None:
                    self._put_back(stream)
                else:
                    self._discard(error)
        finally:  # not beside others any more: it may free everything
            self.pool.finish()

    def _put_back(self, stream: Stream | None) -> None:
        is_back = False
        try:
            with self.pool.device:
                if stream is not None:
                    self.slot.wait_for(stream)
                self.slot.drop_done()
                self.pool.put_back(self.slot)
                is_back = True
        except BaseException as error:
            if not is_back:
                self._discard(error)
            raise

    def _discard(self, error: BaseException) -> None:
        """Free the slot, also where the context of a lost GPU cannot be made current."""
        with contextlib.suppress(MahtrtError), contextlib.ExitStack() as stack:
            with contextlib.suppress(MahtrtError):
                stack.enter_context(self.pool.device)
            self.pool.drop(self.slot, error)


class Pending:
    """An inference under way on arrays of the host."""

    def __init__(self, holding: Holding) -> None:
        self._holding: Holding | None = holding

    def result(self) -> dict[str, Array]:
        """Wait, and take the outputs; once.

        Raises:
            CudaError: The GPU failed.
        """
        holding, self._holding = self._holding, None
        assert holding is not None, "the result was taken, or given up"
        with holding.on_error():
            found = holding.slot.finish()
        holding.give_back()
        return found

    def close(self) -> None:
        """Give the inference up, when it is done; after :meth:`result` this does nothing."""
        if self._holding is not None:
            self.result()


class DeviceResult:
    """Outputs on the GPU, until they are closed.

    Attributes:
        outputs: Name -> view. Memory that the caller did not give belongs to the result.
        stream: Handle of the stream in whose order the outputs are ready: the caller's, or, where
            it gave none, that of the inference.
        engine: Name of the engine that made them.
        device: Where they are, ``cuda:0 NVIDIA H200``.
    """

    def __init__(
        self,
        holding: Holding,
        outputs: dict[str, DeviceView],
        stream: Stream,
    ) -> None:
        self.outputs, self.stream, self._stream = outputs, stream.handle, stream
        self._holding = holding
        pool = holding.pool
        self.engine, self.device = pool.name, gpu_label(pool.device.ordinal, pool.device.name)

    def synchronize(self) -> None:
        """Wait until the outputs are there.

        Raises:
            CudaError: The GPU failed.
        """
        with self._holding.on_error():
            self._holding.slot.stream.synchronize()

    def close(self) -> None:
        """Give the memory of the result back; a second call does nothing.

        What was given to :attr:`stream` before may still read it: the next inference waits. The
        caller's own memory, which the inference reads and writes, is kept alive until it is done.
        """
        self._holding.give_back(stream=self._stream)

    def __enter__(self) -> DeviceResult:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
