"""Ctrl-C, SIGTERM and SIGHUP: they unwind, except at moments where that would do harm.

Such moments are inside native code that crashes, between two renames that belong together, and
where worker processes would be left behind.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

_ENDINGS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class Terminated(SystemExit):
    """SIGTERM or SIGHUP, as an exception that ends the process with the usual status."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number


class _Held:
    """How many blocks of the main thread hold signals back, and which signal came meanwhile."""

    depth = 0
    pending: int | None = None


def unwind_on_signals() -> None:
    """Let SIGTERM and SIGHUP end this process as Ctrl-C does: by an exception.

    For a process of our own, in its main thread. A signal that is ignored (``nohup``) stays so.
    """
    for number in _ENDINGS:
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            signal.signal(number, _unwind)


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
