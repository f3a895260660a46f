"""Many cases through a session, several at a time, in order and in bounded memory."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def chunks(items: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    """Items in groups of ``size``; the last may be smaller. Takes no more than it gives."""
    rest = iter(items)
    while chunk := tuple(itertools.islice(rest, size)):
        yield chunk


def in_order(work: Callable[[T], Sequence[R]], items: Iterable[T], depth: int) -> Iterator[R]:
    """Results of ``work`` in the order of the items, ``depth`` of which are worked on at a time.

    Items are taken in the caller's thread, the next one only when a result was taken: never more
    than ``depth`` items, with their results, are held.

    Args:
        work: Called from ``depth`` threads.
        depth: At least 1.

    Raises:
        Exception: What ``work`` raises for an item, when its turn comes. What was begun behind it
            is finished and thrown away, as when the caller stops before the end.
    """
    under_way: deque[Future[Sequence[R]]] = deque()
    with ThreadPoolExecutor(depth, thread_name_prefix="mahtrt-stream") as pool:
        try:
            for item in items:
                under_way.append(pool.submit(work, item))
                if len(under_way) == depth:
                    yield from under_way.popleft().result()
            while under_way:
                yield from under_way.popleft().result()
        finally:
            for each in under_way:
                each.cancel()
