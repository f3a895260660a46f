"""Every answer that is no result: its status over REST and gRPC, and the word that it has in logs.

What a client is told quotes nothing but its own request; what is logged and counted is the word.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from pathlib import Path

from mahtrt.errors import (
    ImageError,
    InputError,
    MahtrtError,
    MissingComponentError,
    SpecError,
    UsageError,
)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of refusal.

    Attributes:
        word: What logs and metrics call it.
        status: Of HTTP (RFC 9110).
        code: Name of the status of gRPC.
        retry_after_s: When to try again, where that helps.
    """

    word: str
    status: int
    code: str
    retry_after_s: int | None = None


INPUT = Kind("input", 400, "INVALID_ARGUMENT")
IMAGE = Kind("image", 400, "INVALID_ARGUMENT")
TOKEN = Kind("token", 401, "UNAUTHENTICATED")
UNKNOWN = Kind("unknown", 404, "NOT_FOUND")
METHOD = Kind("method", 405, "UNIMPLEMENTED")
SLOW = Kind("slow", 408, "DEADLINE_EXCEEDED")
TOO_LARGE = Kind("too-large", 413, "RESOURCE_EXHAUSTED")
NO_DECODER = Kind("no-decoder", 415, "INVALID_ARGUMENT")
ENCODING = Kind("encoding", 415, "INVALID_ARGUMENT")
NOT_HERE = Kind("not-here", 501, "UNIMPLEMENTED")
FULL = Kind("queue-full", 503, "RESOURCE_EXHAUSTED", 1)
MEMORY = Kind("memory", 503, "RESOURCE_EXHAUSTED", 1)
NOT_READY = Kind("not-ready", 503, "UNAVAILABLE", 5)
ENDING = Kind("ending", 503, "UNAVAILABLE", 5)
DEFECT = Kind("defect", 500, "INTERNAL")
GONE = Kind("client-gone", 499, "CANCELLED")


@dataclass(slots=True, eq=False)
class Refusal(Exception):  # noqa: N818 (an answer, and mostly no error of ours)
    """An answer that is no result.

    Attributes:
        kind: What it is.
        message: What the client is told.
        word: What logs call it, where that is closer than the kind's.
        where: For a defect, the file and line of mahtrt that failed.
    """

    kind: Kind
    message: str
    word: str = field(default="")
    where: str = ""

    def __post_init__(self) -> None:
        self.word = self.word or self.kind.word

    def __str__(self) -> str:
        return self.message


_OF_ERRORS: tuple[tuple[type[MahtrtError], Kind], ...] = (
    (MissingComponentError, NO_DECODER),
    (ImageError, IMAGE),
    (InputError, INPUT),
    (UsageError, INPUT),
    (SpecError, INPUT),
)


def refusal_of(error: Exception) -> Refusal:
    """The answer to an error that came up on the way; of a defect, nothing but that it is one."""
    if isinstance(error, Refusal):
        return error
    for expected, kind in _OF_ERRORS:
        if isinstance(error, expected):
            reason = error.reason if isinstance(error, ImageError) else ""
            is_large = reason == "too-large"
            return Refusal(TOO_LARGE if is_large else kind, str(error), reason)
    if isinstance(error, MemoryError):
        return Refusal(MEMORY, "the service has no memory left for this request")
    told = "the service failed; its log has this request's id"
    return Refusal(DEFECT, told, f"{DEFECT.word}-{type(error).__name__}", _place(error))


def _place(error: Exception) -> str:
    """File and line of mahtrt in which an error came up; its text may quote what was sent."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "mahtrt" in frame.filename] or frames
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
