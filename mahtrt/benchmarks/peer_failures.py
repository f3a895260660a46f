"""What becomes of a peer that fails: a row with the reason, whenever it fails.

Peers are other people's software. One that does not run here, or stops in the middle, must not end
the measurement of the engines.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TypeVar

MOST_CHARACTERS = 300

T = TypeVar("T")


class PeerFailedError(Exception):
    """A peer failed while it was timed.

    Args:
        name: The peer's.
        reason: Why, in a line.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name, self.reason = name, reason


def reason_of(error: BaseException) -> str:
    """The first line that says something of an error."""
    lines = (line.strip() for line in str(error).splitlines())
    text = next((line for line in lines if line), "no message")
    with contextlib.suppress(AttributeError):
        if type(error).__module__.startswith("mahtrt"):
            return text
    return f"{type(error).__name__}: {text}"[:MOST_CHARACTERS]


def watched(name: str, call: Callable[[], T]) -> Callable[[], T]:
    """The same call of a peer, whose errors say whose they are.

    Raises:
        PeerFailedError: The call raised an error.
    """

    def watching() -> T:
        try:
            return call()
        except Exception as error:
            raise PeerFailedError(name, reason_of(error)) from error

    return watching
