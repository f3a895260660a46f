"""How long the GPU takes for an engine, by the GPU's own clock."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import numpy as np

from mahtrt.cuda.pool import SlotPool
from mahtrt.cuda.slots import Array


def engine_ms(pool: SlotPool, feed: Mapping[str, Array]) -> float:
    """Run an engine once, and tell its milliseconds between two events.

    The inputs are copied to the GPU before the first event, and the outputs stay there. Work is
    recorded as a graph as it is for the caller's memory: plain the first time, a graph from the
    second recording on.

    Args:
        feed: Each input by name.

    Raises:
        MahtrtError: The GPU or the engine fails, or the pool is closed or lost.
    """
    with pool.slot() as slot, contextlib.ExitStack() as stack:
        events = [pool.device.create_event(timed=True) for _ in range(2)]
        for event in events:
            stack.callback(event.close)
        for name, tensor in feed.items():
            np.copyto(slot.host(name), tensor)
            pool.device.copy_to_device(slot.addresses[name], slot.host(name), slot.stream)
        slot.stream.synchronize()  # every clock begins on a GPU that has nothing to do
        begin, end = events
        begin.record(slot.stream)
        slot.start_on_device({}, {})
        end.record(slot.stream)
        end.synchronize()
        return end.elapsed_ms(begin)
