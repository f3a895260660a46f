"""Writing so that a path holds the whole new thing or what was there before, never a part.

The new content is made under a hidden sibling name and renamed. An exception or Ctrl-C on the way
removes the sibling. A full disk is a :class:`BuildError` that names the place.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from mahtrt.errors import BuildError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A place to write that becomes ``path`` when the block ends well.

    Args:
        path: Where the file will be. Folders that are missing are made.

    Yields:
        A sibling with the same suffix, which does not exist yet.

    Raises:
        BuildError: The disk is full, or the place cannot be written.
    """
    with temporary_sibling(path) as sibling:
        yield sibling
        os.replace(sibling, path)


@contextlib.contextmanager
def temporary_sibling(path: Path) -> Iterator[Path]:
    """A hidden name beside ``path`` whose file or tree is gone when the block ends.

    The block renames what it wants to keep. Raises as :func:`atomic_path` does.
    """
    sibling = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.tmp{path.suffix}")
    made: list[Path] = []
    try:
        with naming_full_disk(path):
            made = _make_folders(path.parent)
            yield sibling
    except BaseException:
        _remove(sibling)
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
    _remove(sibling)


@contextlib.contextmanager
def naming_full_disk(path: Path) -> Iterator[None]:
    """Turn the system's "no space left" and "not allowed" into a message that says where.

    Raises:
        BuildError: Writing at ``path`` is impossible.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            folder = next(p for p in (path, *path.parents) if p.is_dir())
            free = shutil.disk_usage(folder).free / 2**20
            raise BuildError(
                f"writing {path}",
                got=f"a full disk ({free:.0f} MiB free at {folder})",
                expected="enough space",
                fix="Nothing was left there; free some space or choose another place.",
            ) from error
        if error.errno in _REFUSED and _is_beside(error.filename, path):
            raise BuildError(
                f"writing {path}",
                got=str(error),
                expected="a folder that can be written",
                fix="Choose another place.",
            ) from error
        raise


def write_text_atomic(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole or not at all.

    Raises:
        BuildError: The disk is full, or the place cannot be written.
    """
    with atomic_path(path) as sibling:
        sibling.write_text(text, encoding="utf-8", newline="\n")


def _is_beside(filename: object, path: Path) -> bool:
    """Whether an error is about the place being written, and not about a file read meanwhile."""
    if not isinstance(filename, (str, os.PathLike)):
        return False
    return Path(filename) in path.parents or Path(filename).is_relative_to(path.parent)


def _make_folders(folder: Path) -> list[Path]:
    """Make ``folder`` and its missing parents; returns what was made, innermost first."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for made in reversed(missing):
        made.mkdir(exist_ok=True)
    return missing


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
