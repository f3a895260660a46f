"""How long work tells of itself: what is being done, and how much of it is done."""

from __future__ import annotations

from typing import Protocol


class StageProgress(Protocol):
    """Something that is told of stages: a display on the command line, or a caller's own."""

    def __call__(self, stage: str, done: int, total: int, detail: str = "") -> None:
        """Take note.

        Args:
            stage: What is being done.
            done, total: How much of it is done, and how much there is (0 where unknown).
            detail: What is going on within the stage.
        """


def silent(stage: str, done: int, total: int, detail: str = "") -> None:
    """The progress of a caller who does not want to be told."""
