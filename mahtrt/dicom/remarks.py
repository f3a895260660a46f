"""Keeping back what pydicom and highdicom say about a file: it may name a patient."""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator

# These warn and log with values of the file, such as a name that has only one component.
_LOGGERS = ("highdicom.base", "highdicom.sr.sop", "pydicom")
_lock = threading.RLock()


@contextlib.contextmanager
def without_remarks() -> Iterator[None]:
    """The block's libraries neither warn nor log. One thread at a time: filters are the process's.

    Errors are raised as ever; who makes messages of them leaves out what the libraries wrote.
    """
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = [logger.disabled for logger in loggers]
        try:
            for logger in loggers:
                logger.disabled = True
            yield
        finally:
            for logger, disabled in zip(loggers, before, strict=True):
                logger.disabled = disabled
