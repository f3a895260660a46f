"""What one inference at a time needs: a stream, memory on both sides, and the engine's own state.

Only how work is given to an engine differs between targets: that is an :class:`Engine`. A slot
copies in, lets the engine enqueue, and copies out, recorded as a CUDA graph from the second time on
(:mod:`mahtrt.cuda.graphs`). One thread at a time uses a slot, with the device's context current.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mahtrt.cuda.device import CudaDevice, DeviceMemory, Event, PinnedMemory, Stream
from mahtrt.cuda.graphs import GraphCache
from mahtrt.cuda.keeping import Keeper
from mahtrt.cuda.staging import Staging
from mahtrt.cuda.views import DeviceView
from mahtrt.errors import MahtrtError

# Memory of cuMemAlloc begins at multiples of this, and engines are built for it. What a caller
# gives that does not is copied on the GPU first.
ALIGNMENT = 256

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class DeviceTensor:
    """An input or output of an engine, of static shape."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_input: bool

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        return int(np.prod(self.shape)) * self.dtype.itemsize


class Engine(Protocol):
    """What a target brings to a slot; used by one thread at a time, with the context current."""

    def prepare(self, addresses: Mapping[str, int], stream: int) -> None:
        """Called once, with the addresses of the slot's own memory and the handle of its stream."""

    def enqueue(self, addresses: Mapping[str, int], stream: int) -> None:
        """Give an inference to a stream.

        Args:
            addresses: Where each input and output lies.
            stream: Handle of the stream.

        Raises:
            MahtrtError: The engine refuses.
        """

    def close(self) -> None:
        """Release what the engine holds for this slot."""


# Writes all inputs of a slot by work on its stream, with the device entered.
Fill: TypeAlias = "Callable[[Slot], None]"


class Slot:
    """A stream, an engine, and memory for each of its tensors.

    Attributes:
        stream: Where its work is done.
        addresses: Where its own memory on the GPU lies, by the tensors' names.
        graphs: Its recorded work.
    """

    def __init__(
        self,
        device: CudaDevice,
        tensors: Sequence[DeviceTensor],
        make_engine: Callable[[], Engine],
        *,
        no_graphs: str = "",
    ) -> None:
        """Make everything, or leave nothing behind.

        Args:
            make_engine: Makes the engine's part.
            no_graphs: Why work must not be recorded; "" where it may be.

        Raises:
            MahtrtError: There is not enough memory, or the engine refuses.
        """
        self._device, self._tensors = device, {each.name: each for each in tensors}
        self._inputs = [each.name for each in tensors if each.is_input]
        self._memory: dict[str, DeviceMemory] = {}
        self._pinned: dict[str, PinnedMemory] = {}
        self.addresses: dict[str, int] = {}
        self._waiting: tuple[str, ...] = ()
        self.stream = device.create_stream()
        self._engine: Engine | None = None
        self.graphs = GraphCache(device, self.stream, problem=no_graphs)
        self._staging = Staging(device)
        self._keeper = Keeper(device, self.stream)
        self._events: list[Event] = []
        with contextlib.ExitStack() as undo:
            undo.callback(self._free_quietly)
            for _ in range(2):
                self._events.append(device.create_event())
            # Where work that comes before the slot's ends, and where the slot's own ends.
            self._before, self._after = self._events
            self._engine = make_engine()
            for each in tensors:
                self._memory[each.name] = memory = device.allocate(each.nbytes)
                self._pinned[each.name] = device.allocate_pinned(each.shape, each.dtype)
                self.addresses[each.name] = memory.address
            self._engine.prepare(self.addresses, self.stream.handle)
            undo.pop_all()

    @property
    def engine(self) -> Engine:
        """The engine's part."""
        assert self._engine is not None
        return self._engine

    def host(self, name: str) -> Array:
        """A tensor's page-locked memory."""
        return self._pinned[name].array

    def start(self, feed: Mapping[str, Array], outputs: Sequence[str]) -> None:
        """Start an inference on arrays of the host; :meth:`finish` ends it.

        Args:
            feed: Each input by name; it is copied before this returns.
            outputs: Names of the outputs wanted.

        Raises:
            MahtrtError: The GPU or the engine fails.
        """
        self.drop_done()
        for name in self._inputs:
            np.copyto(self._pinned[name].array, feed[name])
        self._waiting = tuple(outputs)
        self.graphs.run(self._waiting, self._host_work)

    def start_filled(self, fill: Fill, outputs: Sequence[str]) -> None:
        """Start an inference on inputs that are made on the GPU; :meth:`finish` ends it.

        Args:
            fill: Writes them. What it gives to the stream is not recorded, and may differ from
                one inference to the next.
            outputs: Names of the outputs wanted.

        Raises:
            MahtrtError: The GPU or the engine fails.
            Exception: What ``fill`` raises.
        """
        self.drop_done()
        fill(self)
        self._waiting = tuple(outputs)
        self.graphs.run(("filled", *self._waiting), self._filled_work)

    def stage(self, arrays: Sequence[Array]) -> list[int]:
        """Start copying arrays of the host to the GPU; once in an inference, by a :data:`Fill`.

        Returns:
            The address of each, until the inference is done.

        Raises:
            CudaError: There is not enough memory.
        """
        return self._staging.copy(arrays, self.stream)

    def _host_work(self) -> None:
        for name in self._inputs:
            self._device.copy_to_device(self.addresses[name], self.host(name), self.stream)
        self._filled_work()

    def _filled_work(self) -> None:
        self.engine.enqueue(self.addresses, self.stream.handle)
        for name in self._waiting:
            self._device.copy_to_host(self.host(name), self.addresses[name], self.stream)

    def finish(self) -> dict[str, Array]:
        """Wait for the inference, and copy its outputs out of memory that is used again.

        Raises:
            CudaError: The GPU failed.
        """
        self.stream.synchronize()
        return {name: self._pinned[name].array.copy() for name in self._waiting}

    def start_on_device(
        self,
        inputs: Mapping[str, DeviceView],
        outputs: Mapping[str, DeviceView],
        streams: Sequence[Stream] = (),
    ) -> dict[str, int]:
        """Start an inference on memory of the GPU, whose owners are kept until the work is done.

        Args:
            inputs: The caller's memory by name, checked.
            outputs: The caller's memory by name, checked; for others there is the slot's own.
            streams: Those whose work so far has to be done first.

        Returns:
            Output name -> address.

        Raises:
            MahtrtError: The GPU or the engine fails.
        """
        self.drop_done()
        for stream in {each.handle: each for each in streams}.values():
            self.wait_for(stream)
        given = {name: view.address for name, view in (*inputs.items(), *outputs.items())}
        direct = {name: place for name, place in given.items() if place % ALIGNMENT == 0}
        addresses = {**self.addresses, **direct}
        aside = {name: place for name, place in given.items() if name not in direct}
        key = (tuple(sorted(addresses.items())), tuple(sorted(aside.items())))
        self.graphs.run(key, partial(self._device_work, addresses, aside))
        views = (*inputs.values(), *outputs.values())
        owners = tuple(view.owner for view in views if view.owner is not None)
        if owners:
            self._keeper.keep(owners)
        names = (each.name for each in self._tensors.values() if not each.is_input)
        return {name: given.get(name, addresses[name]) for name in names}

    def _device_work(self, addresses: Mapping[str, int], aside: Mapping[str, int]) -> None:
        """Enqueue; memory that an engine cannot use where it is goes through the slot's own."""
        copy, stream = self._device.copy_on_device, self.stream
        for name in self._inputs:
            if name in aside:
                copy(addresses[name], aside[name], self._tensors[name].nbytes, stream)
        self.engine.enqueue(addresses, stream.handle)
        for name, place in aside.items():
            if name not in self._inputs:
                copy(place, addresses[name], self._tensors[name].nbytes, stream)

    def drop_done(self) -> None:
        """Let the callers' memory go whose work is done; never waits.

        Raises:
            CudaError: The GPU failed.
        """
        self._keeper.drop_done()

    def wait_for(self, stream: Stream) -> None:
        """Let the slot's next work wait for a stream's work so far."""
        if stream.handle != self.stream.handle:
            self._before.record(stream)
            self.stream.wait(self._before)

    def let_wait(self, stream: Stream) -> None:
        """Let a stream's next work wait for the slot's work so far."""
        if stream.handle != self.stream.handle:
            self._after.record(self.stream)
            stream.wait(self._after)

    def free(self) -> None:
        """Give everything back, when the work under way is done.

        Raises:
            CudaError: The last of the errors, after everything was tried.
        """
        engine, self._engine = self._engine, None
        with contextlib.ExitStack() as stack:  # last in, first out; goes on where one fails
            stack.callback(self.stream.close)
            for pinned in self._pinned.values():
                stack.callback(pinned.free)
            for memory in self._memory.values():
                stack.callback(memory.free)
            for event in self._events:
                stack.callback(event.close)
            stack.callback(self._keeper.close)
            stack.callback(self._staging.free)
            if engine is not None:
                stack.callback(engine.close)
            stack.callback(self.graphs.close)
            for _ in range(2):  # the first may answer with the error of earlier work
                stack.callback(self.stream.synchronize)

    def _free_quietly(self) -> None:
        """The first error is the one to tell."""
        with contextlib.suppress(MahtrtError):
            self.free()
