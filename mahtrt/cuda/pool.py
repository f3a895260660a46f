"""Slots for as many inferences as are under way at once, and the end of them all.

A pool makes a slot when all others are busy, and keeps it for the next. When it is closed, calls
under way end well, and the last of them frees everything. An error frees the slot it came up in. An
error after which the GPU answers nothing but errors ends the pool: later calls say so in one line.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mahtrt.cuda.device import CudaDevice, CudaError
from mahtrt.cuda.holding import DeviceResult, Holding, Pending
from mahtrt.cuda.kernel_set import KernelSet
from mahtrt.cuda.shared_lock import SharedLock
from mahtrt.cuda.slots import Array, DeviceTensor, Engine, Fill, Slot
from mahtrt.cuda.views import DeviceView, check_view, device_view
from mahtrt.errors import InputError, MahtrtError


@dataclass(frozen=True, slots=True)
class Sharing:
    """What calls of a pool have to heed of each other.

    Attributes:
        most: How many calls use a slot at once, for engines whose slots are large; a further call
            waits. Inferences that were started, or whose outputs stay on the GPU, are the caller's
            and are not counted. None: as many as there are.
        lock: For engines that can be made only while no call is under way: calls share it, and a
            slot is made alone. None: slots are made beside calls.
    """

    most: int | None = None
    lock: SharedLock | None = None


class SlotPool:
    """The slots of one engine.

    Attributes:
        name: The engine's.
        device: The GPU; closed with the pool.
        problem: Why inferences are not recorded as a CUDA graph; "" where they are.
        made: How many slots there are now.
        kernels: The device's; unloaded behind the last slot.
    """

    def __init__(
        self,
        name: str,
        device: CudaDevice,
        tensors: Sequence[DeviceTensor],
        make_engine: Callable[[], Engine],
        *,
        no_graphs: str = "",
        sharing: Sharing | None = None,
    ) -> None:
        """Take over a device.

        Args:
            name: The engine's, for messages: ``tensorrt-int8``.
            make_engine: Makes an engine's part of a slot; one thread at a time calls it.
            no_graphs: Why work must not be recorded; "" where it may be.
            sharing: What calls have to heed of each other; None: nothing.
        """
        sharing = sharing or Sharing()
        most, self._shared = sharing.most, sharing.lock
        self.device, self.problem, self.made = device, no_graphs or device.no_graphs, 0
        self.name, self._tensors, self._make_engine = name, tuple(tensors), make_engine
        self._by_name = {each.name: each for each in tensors}
        self._free: list[Slot] = []
        self._lock, self._making = threading.Lock(), threading.Lock()
        self._in_use, self._closed, self._lost = 0, False, ""
        self._at_end: Callable[[], None] = lambda: None
        self._at_once: contextlib.AbstractContextManager[Any] = (
            contextlib.nullcontext() if most is None else threading.BoundedSemaphore(most)
        )
        self.kernels = KernelSet(device)

    def at_end(self, release: Callable[[], None]) -> None:
        """What to release after the last slot and before the device."""
        self._at_end = release

    def infer(self, feed: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """Copy in, run, copy out, wait. Safe to call from several threads at once.

        Raises:
            MahtrtError: The GPU or the engine fails, or the pool is closed or lost.
        """
        with self.slot() as slot:
            slot.start(feed, outputs)
            return slot.finish()

    def infer_filled(self, fill: Fill, outputs: Sequence[str]) -> dict[str, Array]:
        """As :meth:`infer`, with inputs that ``fill`` makes on the GPU."""
        with self.slot() as slot:
            slot.start_filled(fill, outputs)
            return slot.finish()

    def start(self, feed: Mapping[str, Array], outputs: Sequence[str]) -> Pending:
        """Start an inference; it has to be ended by :meth:`Pending.result` or closed."""
        holding = self._hold()
        with holding.on_error():
            holding.slot.start(feed, outputs)
        return Pending(holding)

    def infer_device(
        self,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any] | None = None,
        stream: Any = None,
    ) -> DeviceResult:
        """Run on memory of the GPU; nothing is copied to the host, and nothing waits.

        Args:
            inputs: Each input by name: what :func:`mahtrt.cuda.views.device_view` takes. The memory
                must not be written before the work is done; its owner is kept until then.
            outputs: Memory for outputs by name; for others there is memory of the result's.
            stream: The caller's stream, as ``CudaDevice.adopt_stream`` takes it. The work waits
                for what was given to it so far, and what is given to it afterwards waits for the
                work. None: the caller waits for ``DeviceResult.stream``, or synchronizes.

        Raises:
            InputError: Memory that is not what the engine needs.
            MahtrtError: The GPU or the engine fails, or the pool is closed or lost.
        """
        holding = self._hold()
        with holding.on_error():
            slot = holding.slot
            with holding.unharmed():
                adopt = self.device.adopt_stream
                theirs = slot.stream if stream is None else adopt(stream)
                taken = self._views(inputs, theirs.handle, are_inputs=True)
                given = self._views(outputs or {}, theirs.handle, are_inputs=False)
                views = [*taken.values(), *given.values()]
                waits = [theirs, *(adopt(v.stream) for v in views if v.stream is not None)]
            places = slot.start_on_device(taken, given, waits)
            slot.let_wait(theirs)
        results = self._results(places, given, theirs.handle)
        return DeviceResult(holding, results, theirs)

    def _views(
        self, given: Mapping[str, Any], stream: int, *, are_inputs: bool
    ) -> dict[str, DeviceView]:
        """The caller's memory, checked: all inputs, or some of the outputs."""
        tensors = {each.name: each for each in self._tensors if each.is_input == are_inputs}
        what = "input" if are_inputs else "output"
        if not set(given) <= set(tensors) or (are_inputs and len(given) < len(tensors)):
            raise InputError(
                f"engine {self.name}",
                got=f"memory for {', '.join(map(str, given)) or 'nothing'}",
                expected=f"memory for its {what}s: {', '.join(tensors)}",
            )
        views = {name: device_view(source, stream=stream) for name, source in given.items()}
        for name, view in views.items():
            tensor, subject = tensors[name], f"{what} {name}"
            check_view(
                view,
                self.device,
                tensor.shape,
                tensor.dtype,
                subject=subject,
                writable=not are_inputs,
            )
        return views

    def _results(
        self, places: Mapping[str, int], given: Mapping[str, DeviceView], stream: int
    ) -> dict[str, DeviceView]:
        found = {}
        for name, place in places.items():
            tensor, ordinal = self._by_name[name], self.device.ordinal
            made = DeviceView(place, tensor.shape, tensor.dtype, None, ordinal, stream)
            found[name] = given.get(name, made)
        return found

    @contextlib.contextmanager
    def slot(self, *, no_graphs: str | None = None) -> Iterator[Slot]:
        """A slot for the calling thread alone, with the device's context current.

        Args:
            no_graphs: Why a slot of its own is wanted whose work is not recorded; it is freed
                afterwards. None takes any slot.

        Raises:
            MahtrtError: The pool is closed or lost, or a slot cannot be made.
        """
        with self._counted(), self._at_once, self.device:
            own = no_graphs is not None
            slot = self._new_slot(no_graphs) if own else self._take()
            with contextlib.ExitStack() as stack:
                try:
                    stack.enter_context(self.beside_others())
                    yield slot
                except BaseException as error:
                    self.drop(slot, error)
                    raise
                if own:
                    self._end(slot)
                else:
                    self.put_back(slot)

    def beside_others(self) -> contextlib.AbstractContextManager[None]:
        """The pool's side of the lock, around calls of CUDA; not twice in one thread."""
        return contextlib.nullcontext() if self._shared is None else self._shared.shared()

    def _hold(self) -> Holding:
        """A slot that is kept over several calls."""
        self._begin()
        slot = None
        try:
            with self.device:
                slot = self._take()
        except BaseException as error:
            self._note(error)
            if slot is not None:  # the context could not be put back
                self.put_back(slot)
            self.finish()
            raise
        return Holding(self, slot)

    def _take(self) -> Slot:
        try:
            return self._free.pop()
        except IndexError:
            return self._new_slot(self.problem)

    def _new_slot(self, no_graphs: str | None) -> Slot:
        alone = contextlib.nullcontext() if self._shared is None else self._shared.alone()
        with alone, self._making:
            slot = Slot(self.device, self._tensors, self._make_engine, no_graphs=no_graphs or "")
        with self._lock:
            self.made += 1
        return slot

    def put_back(self, slot: Slot) -> None:
        if slot.graphs.problem:
            self.problem = self.problem or slot.graphs.problem
        self._free.append(slot)

    def _end(self, slot: Slot) -> None:
        with self._lock:
            self.made -= 1
        slot.free()

    def drop(self, slot: Slot, error: BaseException) -> None:
        """Free a slot whose work failed; the first error is the one to tell."""
        self._note(error)
        try:
            self._end(slot)
        except MahtrtError as later:
            self._note(later)

    def _note(self, error: BaseException) -> None:
        """Remember an error after which nothing works any more."""
        if isinstance(error, CudaError) and error.loses_device:
            self._lost = self._lost or str(error)

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        self._begin()
        try:
            yield
        except BaseException as error:
            self._note(error)
            raise
        finally:
            self.finish()

    def _begin(self) -> None:
        """A call under way."""
        with self._lock:
            if self._closed:
                raise MahtrtError(f"engine {self.name}", got="a call after close()")
            if self._lost:
                raise MahtrtError(
                    f"engine {self.name}",
                    got=f"a GPU that was lost ({self._lost})",
                    expected="one that works",
                    fix="Start the program again.",
                )
            self._in_use += 1

    def finish(self) -> None:
        with self._lock:
            self._in_use -= 1
            last = self._closed and self._in_use == 0
        if last:
            self._release()

    def close(self) -> None:
        """Free everything, when the calls under way have ended; a second call does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            last = self._in_use == 0
        if last:
            self._release()

    def _release(self) -> None:
        """Free everything, in the order in which it may be freed.

        Where the context cannot be made current, nothing is freed and the pool is open again, for
        another :meth:`close`. Where the GPU is lost, its errors were told already.
        """
        told: tuple[type[MahtrtError], ...] = (MahtrtError,) if self._lost else ()
        with self.beside_others(), contextlib.suppress(*told), contextlib.ExitStack() as stack:
            try:
                self.device.__enter__()
            except MahtrtError as error:
                self._note(error)
                if not self._lost:
                    self._closed = False
                    raise
                stack.callback(_raise, error)
                stack.callback(self.device.close)
            else:
                stack.callback(self.device.close)
                stack.push(self.device.__exit__)
            stack.callback(self.kernels.close)
            stack.callback(self._at_end)
            while self._free:
                stack.callback(self._end, self._free.pop())


def _raise(error: BaseException) -> None:
    raise error
