"""The queue on disk: what was received and is not sent yet, whatever happens to the process.

An entry goes ``received`` -> ``computed`` -> ``sending`` -> ``sent``, or to ``failed``. A table
(SQLite, write-ahead log, ``synchronous=FULL``) holds the states; pixels and reports are files. Each
step makes its file durable, then commits the state, then removes what is no longer needed, so that
a process that dies at any moment leaves at most files that no entry needs: :meth:`DiskQueue.open`
removes these.

The table knows digests and numbers alone, and files are named by digests. Images and reports do
hold patients' data until their report is sent: the folder is for this user alone (mode 0700, files
0600). SQLite's lock, which ends with the process, keeps a second service out.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from mahtrt import files
from mahtrt.errors import ImageError
from mahtrt.reading import Wanted, read_regular
from mahtrt.serving.options import FailedEntry
from mahtrt.serving.queue_folder import open_table

RESERVE_BYTES = 2**26  # of the disk, left for reports and states of what was taken
MOST_REMEMBERED = 1_000_000  # sent entries, whose images are known when they come again
MOST_TRIES = 5  # processes that may end while they compute one report
# What a disk that is full or broken makes of a change.
TROUBLE = (OSError, sqlite3.Error)


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How much may wait.

    Attributes:
        most_bytes: Bytes of images and reports on the disk.
        most_entries: Number of images and reports.
    """

    most_bytes: int
    most_entries: int


@dataclass(frozen=True, slots=True)
class Received:
    """An image that was received and is on the disk.

    Attributes:
        path: Where, until the queue has it.
        digest: SHA-256 of its transfer syntax and data set.
        size: Bytes of the file.
    """

    path: Path
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What waits.

    Attributes:
        number: Its place in the order.
        digest: SHA-256 of the image, as received.
        state: ``received``, ``computed``, or ``sending``: then it may be sent already.
        tries: Processes that began to compute its report before.
    """

    number: int
    digest: str
    state: str
    tries: int


class QueueFullError(Exception):
    """As much waits as may."""


class DiskQueue:
    """The entries, for threads of one process; calls that change something are durable."""

    def __init__(self, folder: Path, limits: QueueLimits, table: sqlite3.Connection) -> None:
        self.folder, self.limits = folder, limits
        self._table, self._lock = table, threading.RLock()
        self._begun = 0  # the last entry that this process began
        self.changed = threading.Condition(self._lock)

    @classmethod
    @contextlib.contextmanager
    def open(cls, folder: Path, limits: QueueLimits) -> Iterator[DiskQueue]:
        """Open or make a queue; closed when the block ends.

        Raises:
            UsageError: The folder cannot be made, others may read it, or another service has it.
            IntegrityError: The table is damaged, of a newer version, or gone from its files.
        """
        with contextlib.closing(open_table(folder)) as table:
            queue = cls(folder, limits, table)
            queue._sweep()
            yield queue
            with contextlib.suppress(sqlite3.Error):
                table.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def new_file(self) -> tuple[Path, BinaryIO]:
        """A file for an object that is coming in.

        Raises:
            OSError: The disk is full, or nearly so.
        """
        if shutil.disk_usage(self.folder).free < RESERVE_BYTES:
            raise OSError(28, "no space left for more images")
        return self.new_report()

    def admit(self, received: Received) -> bool:
        """Take an image whose file is flushed; afterwards nothing loses it.

        Returns:
            False for one that is in the queue, or whose report was sent: its file is removed.

        Raises:
            QueueFullError: As much waits as may; the file is removed.
            OSError, sqlite3.Error: The disk; the image is not taken.
        """
        with self._lock:
            known = self._one("SELECT 1 FROM entry WHERE digest = ?", received.digest)
            if known is not None or self._is_full(received.size):
                files.remove(received.path)
                if known is None:
                    raise QueueFullError
                return False
            files.rename(received.path, self.image(received.digest))
            files.flush_folder(self.folder / "images")
            self._table.execute(
                "INSERT INTO entry (digest, state, bytes) VALUES (?, 'received', ?)",
                (received.digest, received.size),
            )
            self.changed.notify_all()
            return True

    def next_received(self) -> Entry | None:
        """The oldest image without a report; that this process begins it is noted once."""
        with self._lock:
            entry = self._entry("state = 'received'", 0)
            if entry is not None and entry.number != self._begun:
                self._set(entry, "received", tries=entry.tries + 1)
                self._begun = entry.number
            return entry

    def keep_report(self, entry: Entry, report: bytes) -> None:
        """Keep a report in place of its image.

        Raises:
            OSError, sqlite3.Error: The disk; the image is still there.
        """
        path, file = self.new_report()
        try:
            with file:
                file.write(report)
                files.flush(file)
            files.rename(path, self.report(entry.digest))
        except BaseException:
            files.remove(path)
            raise
        files.flush_folder(self.folder / "reports")
        self._set(entry, "computed", size=len(report))
        files.remove(self.image(entry.digest))

    def new_report(self) -> tuple[Path, BinaryIO]:
        """A file for a report, which has the reserve of the disk."""
        path = self.folder / "incoming" / os.urandom(16).hex()
        return path, files.create_private(path)

    def next_report(self, after: int = 0) -> Entry | None:
        """The oldest report that is not known to be sent, behind a number."""
        with self._lock:
            return self._entry("state IN ('computed', 'sending')", after)

    def mark_sending(self, entry: Entry) -> None:
        """Note, before the report leaves, that it may be at the destination from now on."""
        self._set(entry, "sending")

    def mark_unsent(self, entry: Entry) -> None:
        """Note that the destination has not got the report."""
        self._set(entry, "computed")

    def mark_sent(self, entry: Entry) -> None:
        """Note that the destination has the report, and remove it here."""
        self._set(entry, "sent", size=0)
        files.remove(self.report(entry.digest))
        files.remove(self.image(entry.digest))
        if entry.number % 1000 == 0:
            with self._lock:
                self._table.execute(
                    "DELETE FROM entry WHERE state = 'sent' AND number <= ?",
                    (entry.number - MOST_REMEMBERED,),
                )

    def fail(self, entry: Entry, reason: str) -> None:
        """Put aside what cannot be worked off; it stays until it is removed."""
        self._set(entry, "failed", reason=reason)

    def retry_failed(self) -> None:
        """Put what failed back to where it was."""
        with self._lock:
            for number, digest in self._rows("SELECT number, digest FROM entry WHERE", "failed"):
                state = "computed" if self.report(digest).exists() else "received"
                self._table.execute(
                    "UPDATE entry SET state = ?, reason = '', tries = 0 WHERE number = ?",
                    (state, number),
                )

    def remove_failed(self) -> None:
        """Remove what failed, with its files; the images are taken if they come again."""
        with self._lock:
            failed = self._rows("SELECT number, digest FROM entry WHERE", "failed")
            self._table.execute("DELETE FROM entry WHERE state = 'failed'")
            for _, digest in failed:
                files.remove(self.image(digest))
                files.remove(self.report(digest))

    def read_image(self, entry: Entry, most_bytes: int) -> bytes:
        """The file of an image.

        Raises:
            ImageError: It is gone, or larger.
        """
        wanted = Wanted("an image of the queue", ImageError)
        return read_regular(self.image(entry.digest), wanted, most_bytes)

    def read_report(self, entry: Entry) -> bytes:
        """The file of a report."""
        with self.report(entry.digest).open("rb") as file:
            return file.read()

    def waiting(self) -> int:
        """How many entries are neither sent nor failed."""
        with self._lock:
            count = "SELECT COUNT(*) FROM entry WHERE state IN ('received','computed','sending')"
            return int(self._table.execute(count).fetchone()[0])

    def failed(self) -> dict[str, int]:
        """Reason to how many entries failed for it."""
        with self._lock:
            found = self._rows("SELECT reason, COUNT(*) FROM entry WHERE", "failed", "reason")
            return {str(reason): int(count) for reason, count in found}

    def failed_entries(self) -> tuple[FailedEntry, ...]:
        """What failed, the oldest first."""
        wanted = "SELECT digest, reason, bytes FROM entry WHERE state = 'failed' ORDER BY number"
        with self._lock:
            return tuple(
                FailedEntry(str(digest), str(reason), int(size), self._since(str(digest)))
                for digest, reason, size in self._table.execute(wanted).fetchall()
            )

    def _since(self, digest: str) -> str:
        for path in (self.report(digest), self.image(digest)):
            with contextlib.suppress(FileNotFoundError):
                return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat("T", "seconds")
        return ""

    def image(self, digest: str) -> Path:
        """Where the image of an entry is."""
        return self.folder / "images" / f"{digest}.dcm"

    def report(self, digest: str) -> Path:
        """Where the report of an entry is."""
        return self.folder / "reports" / f"{digest}.dcm"

    def _one(self, query: str, *values: object) -> tuple[object, ...] | None:
        found: tuple[object, ...] | None = self._table.execute(query, values).fetchone()
        return found

    def _rows(self, query: str, state: str, group: str = "") -> list[tuple[int, str]]:
        grouped = f" GROUP BY {group}" if group else ""
        return self._table.execute(f"{query} state = ?{grouped}", (state,)).fetchall()

    def _is_full(self, size: int) -> bool:
        found = self._one("SELECT COUNT(*), TOTAL(bytes) FROM entry WHERE state <> 'sent'")
        assert found is not None
        count, taken = int(str(found[0])), float(str(found[1]))
        return count >= self.limits.most_entries or taken + size > self.limits.most_bytes

    def _entry(self, where: str, after: int) -> Entry | None:
        row = self._one(
            f"SELECT number, digest, state, tries FROM entry WHERE {where} AND number > ? "
            "ORDER BY number LIMIT 1",
            after,
        )
        if row is None:
            return None
        number, digest, state, tries = row
        return Entry(int(str(number)), str(digest), str(state), int(str(tries)))

    def _set(
        self,
        entry: Entry,
        state: str,
        *,
        reason: str = "",
        size: int | None = None,
        tries: int | None = None,
    ) -> None:
        with self._lock:
            self._table.execute(
                "UPDATE entry SET state = ?, reason = ?, bytes = COALESCE(?, bytes), "
                "tries = COALESCE(?, tries) WHERE number = ?",
                (state, reason, size, tries, entry.number),
            )
            self.changed.notify_all()

    def _sweep(self) -> None:
        """Remove files that no entry needs: a process died between two steps."""
        needed = {
            "images": "state = 'received' OR state = 'failed'",
            "reports": "state = 'computed' OR state = 'sending' OR state = 'failed'",
        }
        for path in (self.folder / "incoming").iterdir():
            files.remove(path)
        for name, states in needed.items():
            for path in (self.folder / name).iterdir():
                query = f"SELECT 1 FROM entry WHERE digest = ? AND ({states})"
                if self._one(query, path.stem) is None:
                    files.remove(path)
