"""Images per second of an engine for several callers at a time, end to end.

Each caller is a thread that hands over its next images as soon as it has the result of the last
ones. All share one session, which is opened for as many inferences at a time as there are callers,
and so share the cores of the machine: what they gain over one caller is what one inference leaves
idle. Each call is one of ``run``, or of ``run_batch`` with a full batch.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from mahtrt.benchmarks.measures import Throughput
from mahtrt.bundle.bundle import Bundle
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.data.feed import Image
from mahtrt.measure.timing import Timings
from mahtrt.runtime.opening import open_engine

if TYPE_CHECKING:
    from mahtrt.runtime.session import Session

WARM_UP_SHARE = 0.2  # of the window, before it

Cases = Sequence[tuple[Image, ...]]


def measure_throughput(
    bundle: Bundle,
    record: EngineRecord,
    cases: Cases,
    streams: int,
    *,
    seconds: float,
    threads: int | None = None,
) -> Throughput:
    """Run an engine for several callers during a window of time.

    Args:
        cases: What callers hand over, in turn.
        streams: How many callers.
        seconds: Length of the window. A call that began in it is waited for, and counted with its
            time.
        threads: Threads of all inferences together; None leaves their number to the runtime.

    Raises:
        MahtrtError: The engine cannot be opened, or fails.
    """
    with open_engine(
        bundle, engine=record.name, threads=threads, streams=streams, verify=False
    ) as session:
        calls = [_caller(session, cases, first) for first in range(streams)]
        run_window(calls, WARM_UP_SHARE * seconds)
        samples_ms, passed_s = run_window(calls, seconds)
        used = session.threads
    times, images = Timings(samples_ms), len(samples_ms) * record.batch
    return Throughput(
        name=record.name,
        batch=record.batch,
        streams=streams,
        threads=used,
        images_per_s=images / passed_s,
        p50_ms=times.p50_ms,
        p99_ms=times.p99_ms,
        images=images,
        seconds=passed_s,
    )


def run_window(
    calls: Sequence[Callable[[], object]], seconds: float
) -> tuple[tuple[float, ...], float]:
    """Call each in a thread of its own, again and again, until the window is over.

    Returns:
        Milliseconds of every call, and seconds from the first begin to the last end.

    Raises:
        Exception: What a call raised; the others stop then.
    """
    together, stop = threading.Barrier(len(calls)), threading.Event()

    def repeat(call: Callable[[], object]) -> tuple[float, float, list[float]]:
        samples: list[float] = []
        together.wait()
        begun = now = time.perf_counter()
        try:
            while not samples or (now - begun < seconds and not stop.is_set()):
                before = now
                call()
                now = time.perf_counter()
                samples.append(1e3 * (now - before))
        except BaseException:
            stop.set()
            raise
        return begun, now, samples

    with ThreadPoolExecutor(len(calls), thread_name_prefix="mahtrt-caller") as pool:
        futures = [pool.submit(repeat, call) for call in calls]
        try:
            found = [future.result() for future in futures]
        finally:
            stop.set()
    passed = max(end for _, end, _ in found) - min(begun for begun, _, _ in found)
    return tuple(itertools.chain.from_iterable(samples for *_, samples in found)), passed


def _caller(session: Session, cases: Cases, first: int) -> Callable[[], object]:
    """What one caller does: a call with its next images, from another one than its neighbours."""
    turn = itertools.islice(itertools.cycle(cases), first, None)
    if session.batch == 1:
        return lambda: session.run(*next(turn))
    return lambda: session.run_batch(list(itertools.islice(turn, session.batch)))
