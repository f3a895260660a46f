"""What watches a worker, so that an image that kills it does not kill one after the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

MOST_DEATHS = 3  # of workers at one file; then it gets a row with an error


class Guard(Protocol):
    """What a worker tells before it opens a file of its chunk, by the file's place in the chunk."""

    def begin_file(self, place: int) -> int:
        """Note that a file is begun; gives how many workers died at it before."""


@dataclass(frozen=True, slots=True)
class Unguarded:
    """Notes nothing: a chunk that is run for the first time, or in the process of its caller."""

    def begin_file(self, place: int) -> int:
        return 0


@dataclass(slots=True)
class Deaths:
    """What is known of a chunk whose workers died.

    The first time nobody knows at which file it was: noting every file would cost each image a
    message. From the second time on every file is noted before it is begun. The first death is
    counted with the first file at which a worker died then, since the same files come in the same
    order.

    Attributes:
        starts: How often the chunk was begun.
        at: The file that was begun last; None where none was noted.
        counts: File to the workers that died at it.
    """

    starts: int = 0
    at: int | None = None
    counts: dict[int, int] = field(default_factory=dict)

    def begin_chunk(self) -> int:
        """Note that a worker begins the chunk; gives how often one did before."""
        if self.at is not None:
            unknown = not self.counts  # the first death, of which no file is known
            self.counts[self.at] = self.counts.get(self.at, 0) + 1 + unknown
            self.at = None
        self.starts += 1
        return self.starts - 1

    def begin_file(self, place: int) -> int:
        """Note that a worker begins a file; gives how many died at it."""
        self.at = place
        return self.counts.get(place, 0)
