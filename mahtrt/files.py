"""The only place where mahtrt changes files.

Every change is one :func:`call` of the operating system. Tests put a failing one in its place, and
so see what a full disk or a lost permission does at each step of a write. Files are not flushed to
the disk by force: after a power failure a result may be missing or, on some file systems, empty.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

if TYPE_CHECKING:
    from _typeshed import SupportsRead

T = TypeVar("T")
_CHUNK_BYTES = 2**20


def call(function: Callable[..., T], *arguments: Any) -> T:
    """Make one call that changes files, or opens them for that."""
    return function(*arguments)


class _File(io.FileIO):
    """A file whose writes are calls, and whose errors say which file it is."""

    def write(self, data: Any) -> int:
        try:
            return call(super().write, data)
        except OSError as error:
            if not isinstance(self.name, int):
                error.filename = error.filename or self.name
            raise


def create(path: Path) -> BinaryIO:
    """Open a file to write it; one that is there is emptied."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    return _opened(path, flags)


def create_private(path: Path) -> BinaryIO:
    """Open a new file that this user alone may read; a name that is taken is refused."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    return _opened(path, flags, mode=0o600)


def flush(file: BinaryIO) -> None:
    """Have what was written to a file on the disk, where a power failure leaves it."""
    file.flush()
    call(os.fsync, file.fileno())


def flush_folder(path: Path) -> None:
    """Have the names in a folder on the disk; Windows does so by itself."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        call(os.fsync, descriptor)
    finally:
        os.close(descriptor)


def append(path: Path) -> BinaryIO:
    """Open what is there to write into it: a device or a FIFO."""
    return _opened(path, os.O_WRONLY | getattr(os, "O_NOCTTY", 0))


def duplicate(descriptor: int) -> BinaryIO:
    """A file of its own for a descriptor of this process."""
    return io.BufferedWriter(_File(call(os.dup, descriptor), "wb"))


def write_bytes(path: Path, data: Any) -> None:
    """Write a whole file.

    Args:
        data: Bytes, or another buffer of bytes.
    """
    with create(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8. What UTF-8 cannot hold is written as a backslash escape.

    That is half of a surrogate pair. In a JSON string the escape means the same as the original.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def copy(source: Path, place: Path) -> None:
    """Copy the content of a file."""
    with source.open("rb") as original:
        copy_from(original, place)


def copy_from(original: SupportsRead[bytes], place: Path) -> None:
    """Write what is left to read of an open file."""
    with create(place) as file:
        shutil.copyfileobj(original, file, _CHUNK_BYTES)


def make_folder(path: Path, *, mode: int = 0o777, exist_ok: bool = False) -> None:
    """Make one folder, in one that is there."""
    try:
        call(os.mkdir, path, mode)
    except FileExistsError:
        if not exist_ok or not path.is_dir():
            raise


def make_folders(path: Path, *, mode: int = 0o777) -> list[Path]:
    """Make a folder and its missing parents; returns what was made, innermost first."""
    missing = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    made: list[Path] = []
    try:
        for folder in reversed(missing):
            make_folder(folder, mode=mode, exist_ok=True)
            made.insert(0, folder)
    except BaseException:
        remove_folders(made)
        raise
    return made


def rename(source: Path, target: Path) -> None:
    """Give a file or folder another name; a file that has the name already is replaced."""
    call(os.replace, source, target)


def link(source: Path, second: Path) -> None:
    """Give a file a second name."""
    call(os.link, source, second)


def exchange(first: Path, second: Path) -> bool:
    """Swap two names in one step.

    Returns:
        False where the system cannot (only Linux can), or one of the names is free.
    """
    return call(_exchange, first, second)


def remove(path: Path) -> None:
    """Remove a file, if it is there."""
    try:
        call(os.unlink, path)
    except FileNotFoundError:
        return


def remove_folders(paths: Iterable[Path]) -> None:
    """Remove folders that are empty; others, and what cannot be removed, stay."""
    for path in paths:
        with contextlib.suppress(OSError):
            call(os.rmdir, path)


def remove_tree(path: Path) -> None:
    """Remove a folder with everything in it."""
    call(shutil.rmtree, path)


def _opened(path: Path, flags: int, *, mode: int = 0o666) -> BinaryIO:
    flags |= getattr(os, "O_CLOEXEC", 0)

    def opened(name: str, _: int) -> int:
        return call(os.open, name, flags, mode)

    return io.BufferedWriter(_File(path, "wb", opener=opened))


def _exchange(first: Path, second: Path) -> bool:
    import ctypes  # which --help does without

    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    if renameat2 is None:
        return False
    at_fdcwd, rename_exchange = -100, 2
    names = (os.fsencode(first), os.fsencode(second))
    return bool(renameat2(at_fdcwd, names[0], at_fdcwd, names[1], rename_exchange) == 0)
