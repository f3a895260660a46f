"""Other tools' quantisers print and log as they work; a caller of mahtrt asked for none of that."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_tools() -> Iterator[None]:
    """Hold back what they print, log and warn of; at DEBUG (``mahtrt --debug``) it goes to stderr.

    Standard output is for results in either case.
    """
    if logging.getLogger("mahtrt").isEnabledFor(logging.DEBUG):
        with contextlib.redirect_stdout(sys.stderr):
            yield
        return
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
