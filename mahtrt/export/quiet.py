"""The exporter's libraries tell of their own work; only who debugs an export wants to read it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_TALKATIVE = ("onnxscript", "onnx_ir")


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Hold back their warnings, unless the logger ``mahtrt`` is at DEBUG (``mahtrt --debug``)."""
    debugging = logging.getLogger("mahtrt").isEnabledFor(logging.DEBUG)
    loggers = [] if debugging else [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
