"""What work on a node of a cluster gives: its result, or the error that it ended with.

Errors come back as values. What is raised in a function of Ray Data loses its class and its message
on the way: ``UserCodeException`` takes its place, without a cause.
"""

from __future__ import annotations

import pickle
import platform
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from mahtrt.errors import BuildError, MahtrtError
from mahtrt.names import visible

_MOST = 300  # characters of an error that nobody expected
AGAIN = "Start it again with the same options: it goes on where it was."

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Failure:
    """What work ended with.

    Attributes:
        error: One of ours, or what the system refused, as it would end a command in one process;
            of another error a line with its class and message. Its traceback is a note of it.
    """

    error: MahtrtError | OSError

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """What an error is to whoever started the run."""
        kept = _told(error)
        kept.add_note(f"On {platform.node()}:\n" + "".join(traceback.format_exception(error)))
        return cls(kept)


def outcome_of(work: Callable[[], Result]) -> Result | Failure:
    """Do some work, and give its result or what it ended with."""
    try:
        return work()
    except Exception as error:
        return Failure.of(error)


def packed(outcome: object) -> bytes:
    """An outcome as it goes between processes."""
    return pickle.dumps(outcome)


def unpacked(raw: bytes) -> Any:
    """The result that an outcome holds.

    Raises:
        MahtrtError, OSError: What the work ended with instead.
    """
    outcome = pickle.loads(raw)
    if isinstance(outcome, Failure):
        raise outcome.error
    return outcome


def ended_by_ray(error: BaseException) -> BuildError:
    """What became of a run that Ray itself ended, as where no worker can be started."""
    cause = getattr(error, "cause", None)  # of what Ray raises for a task
    error = cause if isinstance(cause, BaseException) else error
    told = f"{type(error).__name__}: {_line(error)}"
    return _failed(f"a run that Ray ended ({told[:_MOST]})")


def _told(error: Exception) -> MahtrtError | OSError:
    """An error that another process can be given, and that ends a command with a line."""
    if isinstance(error, MahtrtError):
        return error
    if isinstance(error, OSError) and error.errno is not None:
        return error
    told = f"{type(error).__name__}: {_line(error)}"
    return _failed(f"a worker on {platform.node()} that failed ({told[:_MOST]})")


def _failed(got: str) -> BuildError:
    return BuildError("--ray", got=got, expected="workers that run", fix=AGAIN)


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return visible(lines[0]) if lines else "no message"
