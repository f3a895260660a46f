"""Reading a file that somebody else may have written: a regular file, opened once, of bounded size.

A path can name a FIFO that never answers, a device without an end, or a file that is exchanged
between two looks at it. What is opened here was seen to be a regular file *after* it was opened;
callers hash and parse what this gave, and do not open the path again.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from mahtrt.errors import InputError, MahtrtError

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)


class Content(Protocol):
    """A file by its content: a path, or a file of a bundle, which is hashed as it is read."""

    @property
    def name(self) -> str:
        """The file's name without folders."""

    def read_bytes(self) -> bytes:
        """The whole content."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a file should be, for the messages of the readers here.

    Attributes:
        expected: What the file should hold, e.g. ``"an image file"``.
        error: What to raise.
        fix: What the user can do.
        called: What messages call the file; "" for its path.
    """

    expected: str
    error: type[MahtrtError] = InputError
    fix: str = "Check the path."
    called: str = ""

    def refuse(self, path: Path, got: str) -> MahtrtError:
        """The error about one path."""
        return self.error(self.called or str(path), got=got, expected=self.expected, fix=self.fix)


def open_regular(path: Path, wanted: Wanted) -> BinaryIO:
    """Open a regular file for reading; links are followed, and nothing is waited for.

    Raises:
        MahtrtError: ``wanted.error``, where there is no file, it is of another kind (a FIFO, a
            device, a folder), or it may not be read.
    """
    try:
        _refuse_other_kinds(path, os.stat(path).st_mode, wanted)  # opening a device can act on it
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags)  # without waiting for the writer of a FIFO
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        got = "no such file" if isinstance(error, FileNotFoundError) else _reason(error)
        raise wanted.refuse(path, got) from error
    try:
        _refuse_other_kinds(path, os.fstat(descriptor).st_mode, wanted)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, wanted: Wanted, most_bytes: int) -> bytes:
    """The content of a regular file.

    Args:
        most_bytes: Largest size that is read; more is refused before it is in memory.

    Raises:
        MahtrtError: As :func:`open_regular`, and where the file is larger or cannot be read.
    """
    with open_regular(path, wanted) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most_bytes:
            raise wanted.refuse(path, f"{size} bytes, of at most {most_bytes}")
        try:
            content = file.read(size + 1)  # a buffer of most_bytes would cost more than the file
            if len(content) > size:
                content += file.read(most_bytes + 1 - len(content))
        except OSError as error:
            raise wanted.refuse(path, _reason(error)) from error
    if len(content) > most_bytes:  # it grew
        raise wanted.refuse(path, f"over {most_bytes} bytes, the most that is read")
    return content


def _refuse_other_kinds(path: Path, mode: int, wanted: Wanted) -> None:
    for is_kind, name in _KINDS:
        if is_kind(mode):
            raise wanted.refuse(path, name)


def _reason(error: OSError | ValueError) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
