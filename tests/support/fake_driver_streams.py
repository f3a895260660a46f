"""Streams, events, captures and graphs of the fake GPU.

What is given to a stream is kept, and done when somebody has to wait for it: at a synchronization,
or where another stream waits for an event. So a missing wait gives wrong data. ``order`` says what
else happens meanwhile: ``lazy`` nothing; ``eager`` all that can be done, at once; ``random`` some
of it, by chance.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal

from fake_driver_memory import Allocation, MisuseError

Order = Literal["lazy", "eager", "random"]
UNSUPPORTED, INVALIDATED, UNMATCHED, UNJOINED = 900, 901, 903, 904
ISOLATION, CAPTURED_EVENT, WRONG_THREAD = 905, 907, 908


class RefusedError(Exception):
    """The driver's answer is an error."""

    def __init__(self, code: int) -> None:
        self.code = code


class GpuFaultError(Exception):
    """What work on the GPU raises where it fails: the next wait tells of it."""

    def __init__(self, code: int) -> None:
        self.code = code


class Op:
    """Work given to a stream."""

    __slots__ = ("graph", "ms", "name", "run", "uses", "wait")

    def __init__(
        self,
        name: str,
        run: Callable[[], None] | None = None,
        uses: Sequence[Allocation | None] = (),
        *,
        wait: tuple[Stream, int] | None = None,
        graph: GraphExec | None = None,
        ms: float = 1.0,
    ) -> None:
        self.name, self.run, self.wait, self.graph, self.ms = name, run, wait, graph, ms
        self.uses = [each for each in uses if each is not None]

    def do(self) -> None:
        for each in self.uses:
            if not each.alive:
                raise MisuseError(f"{self.name}: use of {each.start:#x} after free")
        if self.run is not None:
            self.run()


class Stream:
    """A queue, how much was given to it, and how much of that is done."""

    __slots__ = ("capture", "context", "done", "given", "handle", "queue")

    def __init__(self, handle: int, context: int) -> None:
        self.handle, self.context = handle, context
        self.queue: deque[Op] = deque()
        self.given = self.done = 0
        self.capture: Capture | None = None


class Event:
    """A mark: in a stream, or in a capture."""

    def __init__(self, *, timed: bool) -> None:
        self.timed = timed
        self.mark: tuple[Stream, int] | None = None
        self.captured: tuple[Capture, dict[Stream, int]] | None = None
        self.ms = -1.0

    @property
    def is_done(self) -> bool:
        return self.mark is None or self.mark[0].done >= self.mark[1]


class Capture:
    """Work that is being recorded."""

    def __init__(self, origin: Stream, thread: int) -> None:
        self.origin, self.thread, self.invalid = origin, thread, False
        self.ops: list[Op] = []
        self.counts: dict[Stream, int] = {origin: 0}
        # What each stream has waited for of each other.
        self.known: dict[Stream, dict[Stream, int]] = {origin: {}}

    def add(self, stream: Stream, op: Op) -> None:
        self.counts[stream] += 1
        self.ops.append(op)

    def mark(self, stream: Stream) -> dict[Stream, int]:
        return {**self.known[stream], stream: self.counts[stream]}

    def join(self, stream: Stream, mark: dict[Stream, int]) -> None:
        stream.capture = self
        self.counts.setdefault(stream, 0)
        known = self.known.setdefault(stream, {})
        for other, count in mark.items():
            known[other] = max(known.get(other, 0), count)

    @property
    def is_joined(self) -> bool:
        """Whether the stream it began with waits for all the others."""
        known = self.known[self.origin]
        others = (item for item in self.counts.items() if item[0] is not self.origin)
        return all(known.get(stream, -1) >= count for stream, count in others)

    def end(self) -> None:
        for stream in self.counts:
            stream.capture = None


class GraphExec:
    """A graph that can be launched: it keeps the addresses it was recorded with."""

    __slots__ = ("ops", "pending")

    def __init__(self, ops: list[Op]) -> None:
        self.ops, self.pending = ops, 0

    def run(self) -> None:
        self.pending -= 1
        for op in self.ops:
            op.do()


class Scheduler:
    """All streams, and the clock of the GPU.

    Attributes:
        done: Name of each piece of work that was done, in order, where ``keep_names`` is set.
    """

    def __init__(self, order: Order, seed: int) -> None:
        self.order = order
        self.streams: dict[int, Stream] = {}
        self.now_ms = 0.0
        self.keep_names, self.done = False, list[str]()
        self._random = random.Random(seed)

    def give(self, stream: Stream, op: Op) -> None:
        """Give work to a stream, or record it where the stream is being captured."""
        if stream.capture is not None:
            stream.capture.add(stream, op)
            return
        stream.queue.append(op)
        stream.given += 1
        if op.graph is not None:
            op.graph.pending += 1
        if self.order != "lazy":
            self._meanwhile()

    def finish(self, stream: Stream, position: int | None = None) -> None:
        """Do the work of a stream up to a position, and what it waits for."""
        position = stream.given if position is None else position
        while stream.done < position:
            op = stream.queue.popleft()
            if op.wait is not None:
                self.finish(*op.wait)
            stream.done += 1
            self.now_ms += op.ms
            if self.keep_names:
                self.done.append(op.name)
            if op.graph is not None:
                op.graph.run()
            else:
                op.do()

    def drop_all(self) -> None:
        """The GPU is lost, and all work with it."""
        for stream in self.streams.values():
            stream.done = stream.given
            stream.queue.clear()

    def pending(self) -> list[Op]:
        """All work that was given and is not done, that of graphs included."""
        queued = [op for stream in self.streams.values() for op in stream.queue]
        return queued + [inner for op in queued if op.graph is not None for inner in op.graph.ops]

    def _meanwhile(self) -> None:
        busy = [stream for stream in self.streams.values() if stream.queue]
        for stream in busy:
            if self.order == "eager":
                self.finish(stream)
            elif self._random.random() < 0.5:
                self.finish(stream, stream.done + self._random.randint(0, len(stream.queue)))
