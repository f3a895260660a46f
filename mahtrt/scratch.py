"""Temporary folders that know their owner.

A folder is locked (``flock``) as long as its owner lives; the system drops the lock of a process
that dies, however it dies. So whoever makes a temporary folder at a place first removes the folders
there whose lock is free: what a killed process left. The name says which machine made the folder:
locks of other machines cannot always be seen, so their folders have to be a day old as well.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mahtrt import files
from mahtrt.interrupt import interrupt_later

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]

_NAME = re.compile(r"\.mahtrt-([0-9a-f]{12})-[0-9a-f]{8}\.tmp")
_UNKNOWN_MACHINE = "0" * 12
_OLD_S = 24 * 3600.0
_TRIES = 20
# Places that this process has looked through.
_swept: set[Path] = set()


@dataclass(frozen=True, slots=True)
class _Claimed:
    """A folder of ours, and the descriptor that holds its lock; None where there is no lock."""

    folder: Path
    lock: int | None


@contextlib.contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A hidden folder, empty, for this user alone, that is gone when the block ends.

    Args:
        parent: The folder to make it in.

    Raises:
        OSError: It cannot be made.
    """
    sweep_once(parent)
    claimed = None
    try:
        with interrupt_later():  # which lets a signal through when it ends
            claimed = _claim(parent)
        yield claimed.folder
    finally:
        if claimed is not None:
            with interrupt_later():
                _give_up(claimed)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A :func:`scratch_folder` where the system keeps temporary files."""
    import tempfile

    with scratch_folder(Path(tempfile.gettempdir())) as folder:
        yield folder


def is_scratch(path: Path) -> bool:
    """Whether a path is a scratch folder or in one."""
    return any(_NAME.fullmatch(part) for part in path.parts)


def sweep_once(parent: Path) -> None:
    """Sweep a folder, unless this process has done so."""
    if parent not in _swept:
        sweep(parent)
        _swept.add(parent)


def sweep(parent: Path) -> None:
    """Remove the scratch folders in a folder whose owner is gone."""
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if found := _NAME.fullmatch(entry.name):
                with contextlib.suppress(OSError):
                    _remove_left(Path(entry.path), found[1])


def _remove_left(folder: Path, machine: str) -> None:
    """Remove a scratch folder unless it may still have an owner."""
    status = folder.lstat()
    if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
        return
    if machine != _this_machine() and time.time() - status.st_mtime < _OLD_S:
        return
    with interrupt_later():
        lock = _locked(folder)
        try:
            files.remove_tree(folder)
        finally:
            os.close(lock)


def _claim(parent: Path) -> _Claimed:
    """Make a folder and lock it before a sweep takes it for left over."""
    for _ in range(_TRIES):
        folder = _new_name(parent, _this_machine())
        files.make_folder(folder, mode=0o700)
        try:
            lock = _locked(folder)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.ENOENT):  # a sweep was quicker
                continue
            if error.errno in _NO_LOCKS:
                return _unlocked(folder)
            files.remove_folders([folder])
            raise
        if _is_at(lock, folder):
            return _Claimed(folder, lock)
        os.close(lock)
    raise OSError(errno.EBUSY, "temporary folders vanish as they are made", str(parent))


# What a file system without locks says; two of these differ on macOS alone.
_NOT_SUPPORTED = (errno.EOPNOTSUPP, getattr(errno, "ENOTSUP", errno.EOPNOTSUPP))
_NO_LOCKS = (errno.ENOLCK, *_NOT_SUPPORTED, errno.ENOSYS, errno.EINVAL)


def _unlocked(folder: Path) -> _Claimed:
    """Without a lock, the name keeps sweeps away until the folder is old."""
    renamed = _new_name(folder.parent, _UNKNOWN_MACHINE)
    files.rename(folder, renamed)
    return _Claimed(renamed, None)


def _give_up(claimed: _Claimed) -> None:
    # What cannot be removed now is left to the next sweep; what was made is not lost for it.
    with contextlib.suppress(OSError):
        files.remove_tree(claimed.folder)
    if claimed.lock is not None:
        os.close(claimed.lock)


def _locked(folder: Path) -> int:
    """A descriptor that holds the folder's lock.

    Raises:
        OSError: EWOULDBLOCK where another process holds it.
    """
    if fcntl is None:
        raise OSError(errno.ENOSYS, "no locks")
    lock = files.call(os.open, folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def _is_at(lock: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(lock), folder.lstat())
    except FileNotFoundError:
        return False


def _new_name(parent: Path, machine: str) -> Path:
    return parent / f".mahtrt-{machine}-{os.urandom(4).hex()}.tmp"


@functools.cache
def _this_machine() -> str:
    """The machine since it was started; containers on it are the same machine, as for locks."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        return re.sub("[^0-9a-f]", "", text)[:12].zfill(12)
    except OSError:
        uname: Any = getattr(os, "uname", None)
        return f"{zlib.crc32(os.fsencode(uname().nodename)) if uname else 1:012x}"
