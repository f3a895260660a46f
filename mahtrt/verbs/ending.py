"""How a command ends: an error or Ctrl-C as a line on stderr, with the right exit code."""

from __future__ import annotations

import errno
import functools
import logging
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import typer

from mahtrt.errors import MahtrtError
from mahtrt.interrupt import Terminated
from mahtrt.names import visible
from mahtrt.verbs.console import complain

P = ParamSpec("P")
T = TypeVar("T")


def show_logs() -> None:
    """Show what mahtrt and the libraries log, and the traceback of an error: ``--debug``."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_VisibleLines("%(name)s: %(message)s"))
    logging.basicConfig(level=logging.DEBUG, handlers=[handler])


class _VisibleLines(logging.Formatter):
    """Formats a record so that nothing in it acts on the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(visible, super().format(record).splitlines()))


def show_defect(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """The traceback of an error that nobody expected, for :data:`sys.excepthook`."""
    complain(*"".join(traceback.format_exception(kind, error, trace)).splitlines())


def ends_well(command: Callable[P, T]) -> Callable[P, T]:
    """Turn mahtrt's errors and Ctrl-C into a line on stderr and the right exit code."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except MahtrtError as error:
            if logging.getLogger().isEnabledFor(logging.DEBUG):
                complain(*traceback.format_exc().splitlines())
            complain(f"error: {_one_line(error)}")
            raise typer.Exit(error.exit_code) from error
        except (KeyboardInterrupt, Terminated) as error:
            complain(_end_of(error))
            number = getattr(error, "number", signal.SIGINT)
            raise typer.Exit(128 + number) from error
        except OSError as error:
            # What the system refuses has a number; a library's own OSError may be a defect.
            # A reader that closed the pipe (``| head``) is click's business.
            if error.errno in (None, errno.EPIPE):
                raise
            say_refused(error)
            raise typer.Exit(1) from error

    return wrapped


def say_refused(error: OSError) -> None:
    """Say what the system refused, in a line."""
    place = error.filename or "writing"
    complain(f"error: {place}: got {error.strerror or _one_line(error)}. {_advice(error)}")


def _end_of(error: KeyboardInterrupt | Terminated) -> str:
    """What a signal ended, in a line."""
    word = "terminated" if isinstance(error, Terminated) else "interrupted"
    told = "" if isinstance(error, Terminated) else str(error)
    return f"{word}: {told or 'nothing half-written is left'}"


def _one_line(error: BaseException) -> str:
    """An error's message in one line; other libraries' messages, quoted in it, may have more."""
    return " ".join(str(error).split())


def _advice(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "Free some space, or choose another place."
    return "Check the place, and that you may read and write there."
