"""The folder of a queue: for one user and one service, with a table that belongs to its files."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from pathlib import Path

from mahtrt import files
from mahtrt.errors import IntegrityError, UsageError

# What the system says of a disk, in words that name no file.
_TROUBLES = {
    errno.ENOSPC: "full",
    errno.EDQUOT: "full",
    errno.EROFS: "read-only",
    errno.EACCES: "not-allowed",
    errno.EPERM: "not-allowed",
    errno.ENOENT: "file-is-gone",
}
FOLDERS = ("incoming", "images", "reports")
TABLE = "queue.sqlite"
_VERSION = 1
_LAYOUT = """
CREATE TABLE IF NOT EXISTS entry (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  digest TEXT NOT NULL UNIQUE,   -- of transfer syntax and data set
  state TEXT NOT NULL,
  reason TEXT NOT NULL DEFAULT '',
  bytes INTEGER NOT NULL,        -- on disk
  tries INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS waiting ON entry (state, number) WHERE state <> 'sent';
"""


def open_table(folder: Path) -> sqlite3.Connection:
    """Open or make the folder of a queue; the table in it is ours until it is closed.

    Raises:
        UsageError: The folder cannot be made, others may read it, or another service has the queue.
        IntegrityError: The table is damaged, of a newer version, or gone from its files.
    """
    try:
        place = _made(folder)
    except OSError as error:
        raise UsageError(
            f"--queue {folder}",
            got=error.strerror or str(error),
            expected="a folder, or a place where one can be made",
        ) from error
    table = sqlite3.connect(place, timeout=0.5, isolation_level=None, check_same_thread=False)
    try:
        _prepare(table, folder)
    except BaseException:
        table.close()
        raise
    return table


def _made(folder: Path) -> Path:
    """Make what is missing of a queue; gives the place of its table."""
    make_private_folder(folder)
    for name in FOLDERS:
        files.make_folder(folder / name, mode=0o700, exist_ok=True)
    place = folder / TABLE
    if not place.exists():
        _refuse_contents(folder)
        files.create_private(place).close()
        files.flush_folder(folder)
        files.flush_folder(folder.parent)
    return place


def make_private_folder(folder: Path) -> None:
    """Make a folder for this user alone, or see that it is one.

    Raises:
        UsageError: Somebody else owns it or may look into it.
        OSError: It cannot be made.
    """
    files.make_folders(folder, mode=0o700)
    if not hasattr(os, "geteuid"):
        return
    found = folder.stat()
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid != os.geteuid() or mode & 0o077:
        raise UsageError(
            f"--queue {folder}",
            got=f"a folder of user {found.st_uid} with mode {mode:04o}",
            expected="one of yours that nobody else may read (mode 0700): it holds images",
            fix="Name a folder that does not exist yet, or change its mode.",
        )


def _refuse_contents(folder: Path) -> None:
    """Refuse images and reports whose table is gone, in place of taking them for left over.

    Raises:
        IntegrityError: There are some.
    """
    count = sum(1 for name in ("images", "reports") for _ in (folder / name).iterdir())
    if count:
        raise IntegrityError(
            f"--queue {folder}",
            got=f"{count} images and reports without queue.sqlite",
            expected="the table that tells what they are",
            fix="Put it back, or move the folder away: images in it may have no report yet.",
        )


def _prepare(table: sqlite3.Connection, folder: Path) -> None:
    """Lock the table and see that it is ours."""
    try:
        # The lock is held until the connection is closed, and ends with the process.
        table.execute("PRAGMA locking_mode = EXCLUSIVE")
        table.execute("PRAGMA journal_mode = WAL")
        for setting in ("synchronous = FULL", "secure_delete = ON", "journal_size_limit = 0"):
            table.execute(f"PRAGMA {setting}")
        (version,) = table.execute("PRAGMA user_version").fetchone()
        if version <= _VERSION:
            table.executescript(f"BEGIN IMMEDIATE; {_LAYOUT} PRAGMA user_version = 1; COMMIT;")
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise _damaged(folder, str(error)) from error
        raise UsageError(
            f"--queue {folder}",
            got="a queue that another process has open",
            expected="one service for a queue",
            fix="End the other one, or name another folder.",
        ) from error
    except sqlite3.DatabaseError as error:
        raise _damaged(folder, str(error)) from error
    if version > _VERSION:
        got, expected = f"a queue of version {version}", f"at most version {_VERSION}"
        raise IntegrityError(f"--queue {folder}", got=got, expected=expected)


def _damaged(folder: Path, told: str) -> IntegrityError:
    return IntegrityError(
        f"--queue {folder}",
        got=f"a table that cannot be used ({told})",
        expected="queue.sqlite as mahtrt serve writes it",
        fix="Keep a copy of the folder, since images in it may have no report yet; name another.",
    )


def reason_of_trouble(error: OSError | sqlite3.Error) -> str:
    """What is wrong with the disk of a queue, in a word that names no file."""
    if isinstance(error, OSError):
        return _TROUBLES.get(error.errno or 0, "broken")
    code = getattr(error, "sqlite_errorcode", None)  # missing where Python itself raised it
    return "full" if code == sqlite3.SQLITE_FULL else "table"
