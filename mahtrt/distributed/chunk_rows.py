"""The rows of the files of a chunk, of which some images wait to go through the engine together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from mahtrt.distributed.loading import Decoded, Failed, LoadedFile, PassedOver
from mahtrt.distributed.rows import ImageFacts, Row, row_of_error
from mahtrt.errors import InputError

_FEW = 3  # unexpected errors of a chunk that say nothing of the engine


@dataclass(slots=True)
class ChunkRows:
    """The rows of a chunk so far.

    Attributes:
        rows_of: Runs images.
        together: How many of them go through the engine together, and are in memory.
    """

    rows_of: Callable[[Sequence[Decoded], ChunkRows], list[Row]]
    together: int
    done_rows: list[Row | None] = field(default_factory=list)
    waiting: dict[int, Decoded] = field(default_factory=dict)
    files: dict[str, None] = field(default_factory=dict)
    done_before: int = 0
    passed_over: dict[str, int] = field(default_factory=dict)
    unexpected: list[Exception] = field(default_factory=list)

    @property
    def rows(self) -> list[Row]:
        """The rows that are done, in the order of their images."""
        return [row for row in self.done_rows if row is not None]

    def take(self, loaded: LoadedFile | PassedOver) -> None:
        """Add the images of a file, or note why it has none."""
        if isinstance(loaded, LoadedFile):
            self.add(loaded.called, loaded.images)
        elif loaded.is_done:
            self.done_before += 1
        elif loaded.kind:
            self.passed_over[loaded.kind] = self.passed_over.get(loaded.kind, 0) + 1

    def add(self, file: str, images: Iterable[Row | Decoded | Failed]) -> None:
        """Add the images of a file; one that has some already, under another path, is left out."""
        if file in self.files:
            return
        self.files[file] = None
        for each in images:
            if isinstance(each, Decoded):
                self.waiting[len(self.done_rows)] = each
                self.done_rows.append(None)
                if len(self.waiting) == self.together:
                    self.run_waiting()
            elif isinstance(each, Failed):
                self.done_rows.append(self.error_row(each.facts, each.error))
            else:
                self.done_rows.append(each)

    def run_waiting(self) -> None:
        """Run the images that wait for others, and put their rows in their places."""
        waiting, self.waiting = self.waiting, {}
        if waiting:
            rows = self.rows_of(list(waiting.values()), self)
            for place, row in zip(waiting, rows, strict=True):
                self.done_rows[place] = row

    def error_row(self, facts: ImageFacts, error: Exception) -> Row:
        """The row of an image that gave none; an error that is none of an image is noted."""
        if not isinstance(error, InputError):
            self.unexpected.append(error)
        return row_of_error(facts, error)

    def check(self) -> None:
        """Raise what most of the images ended with, where it says more of the engine than of them.

        Raises:
            Exception: The first of these errors.
        """
        if len(self.unexpected) > max(_FEW, len(self.rows) // 2):
            raise self.unexpected[0]
