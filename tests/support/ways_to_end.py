"""Every way in which a watched case can end, on purpose."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import watched

from mahtrt.errors import DataError


def end(how: str, _: Path, __: Path) -> str:
    if how == "refused":
        raise DataError("a thing", got="this", expected="that")
    if how == "raise":
        raise KeyError("a defect")
    if how == "wrong":
        raise watched.WrongError("a broken rule")
    if how == "abort":
        os.abort()
    if how == "sleep":
        time.sleep(60)
    if how == "eat":
        eaten = b"x" * (watched.MOST_BYTES + (64 << 20))
        time.sleep(60)
        return eaten[:1].decode()
    if how == "leave":
        tempfile.mkdtemp()
    return "ended"
