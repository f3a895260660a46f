"""Ctrl-C, SIGTERM and SIGHUP: they unwind, except at moments where that would do harm.

Such moments are inside native code that crashes, between two renames that belong together, and
where worker processes would be left behind.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

_ENDINGS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)

_AGAIN_S = 0.01  # until a signal that Python dropped comes again


class Terminated(SystemExit):
    """SIGTERM or SIGHUP, as an exception that ends the process with the usual status."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number


class _Held:
    """How many blocks of the main thread hold signals back, and which signal came meanwhile.

    Attributes:
        report: What is told of other exceptions that Python cannot raise.
    """

    depth = 0
    pending: int | None = None
    report: Callable[[Any], object] = sys.__unraisablehook__


def unwind_on_signals() -> None:
    """Let SIGTERM and SIGHUP end this process as Ctrl-C does: by an exception.

    For a process of our own, in its main thread. A signal that is ignored (``nohup``) stays so.
    """
    for number in _ENDINGS:
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            signal.signal(number, _unwind)
    if sys.unraisablehook is not _raise_again:
        _Held.report = sys.unraisablehook
        sys.unraisablehook = _raise_again


def handled_signals() -> tuple[int, ...]:
    """Ctrl-C, and what :func:`unwind_on_signals` took over."""
    return tuple(
        number
        for number in _ENDINGS
        if number == signal.SIGINT or signal.getsignal(number) is _unwind
    )


@contextlib.contextmanager
def interrupt_later() -> Iterator[None]:
    """Hold Ctrl-C, SIGTERM and SIGHUP back until the block ends.

    The signals are blocked, not ignored: they arrive when the block ends, and processes that are
    started inside keep them blocked.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS)
    # The system may hand a signal to a thread of native code, which does not block it.
    in_main = threading.current_thread() is threading.main_thread()
    _Held.depth += in_main
    try:
        yield
    finally:
        _Held.depth -= in_main
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if in_main and not _Held.depth and (number := _Held.pending) is not None:
            _Held.pending = None
            _unwind(number)


def _unwind(number: int, _frame: Any = None) -> None:
    if _Held.depth:
        _Held.pending = number
        return
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise Terminated(number)


def _raise_again(unraisable: Any) -> None:
    """Let a signal that came while an object was being freed end the process all the same.

    Python drops what a destructor raises, and the signal's exception would be lost with it. What is
    raised in here is dropped too, so the signal comes again a moment later.
    """
    error = unraisable.exc_value
    if not isinstance(error, (Terminated, KeyboardInterrupt)):
        _Held.report(unraisable)
        return
    number = error.number if isinstance(error, Terminated) else signal.SIGINT
    again = threading.Timer(_AGAIN_S, os.kill, (os.getpid(), number))
    again.daemon = True
    again.start()
