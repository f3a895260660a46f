"""Files of folders as they appear, for a run that goes on until it is ended.

Folders are listed again and again: file systems of other machines and object stores tell nobody of
new files. A file is complete when neither its size nor its time changed for a while; who writes
slowly gives it another name until it is whole: names that begin with a dot are passed over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mahtrt.distributed.digest_set import DigestSet
from mahtrt.distributed.listing import Chunk, ListedFile, chunks_of, files_of
from mahtrt.distributed.storage import storage_of

SETTLED_S, PAUSE_S = 2.0, 1.0
_MOST_OF_TIME = 0.2  # of one core that listing may take


@dataclass(frozen=True, slots=True)
class Watching:
    """How folders are watched.

    Attributes:
        settled_s: How long a file has to stay as it is.
        pause_s: The shortest time between two looks.
        is_over: Asked between two looks.
        sleep: Waits for so many seconds.
    """

    settled_s: float = SETTLED_S
    pause_s: float = PAUSE_S
    is_over: Callable[[], bool] = lambda: False
    sleep: Callable[[float], None] = time.sleep


def chunks_as_they_appear(
    archives: Sequence[str], size: int, watching: Watching
) -> Iterator[Chunk]:
    """Complete files that did not come before, at most ``size`` at a time."""
    given = DigestSet()
    pending: dict[str, tuple[tuple[int, float], float]] = {}
    while True:
        begun = time.monotonic()
        ready: list[ListedFile] = []
        there: dict[str, tuple[tuple[int, float], float]] = {}
        for file in files_of(archives):
            if file.location in given or (state := _state(file)) is None:
                continue
            known, since = pending.get(file.location, (None, begun))
            since = since if known == state else begun
            if begun - since >= watching.settled_s:
                ready.append(file)
            else:
                there[file.location] = (state, since)
        pending = there
        yield from _given(chunks_of(ready, size), given)
        if watching.is_over():
            return
        took = time.monotonic() - begun
        watching.sleep(max(watching.pause_s, 0.0 if ready else took / _MOST_OF_TIME))


def _given(chunks: Iterator[Chunk], given: DigestSet) -> Iterator[Chunk]:
    for chunk in chunks:
        yield chunk
        for file in chunk:
            given.add(file.location)


def _state(file: ListedFile) -> tuple[int, float] | None:
    """Size and time of a file; None of one that is gone again."""
    if file.problem:
        return 0, 0.0
    try:
        return storage_of(file.location).size_and_time(file.location)
    except (OSError, KeyError):
        return None
