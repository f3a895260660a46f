"""An object that is coming in: written to the disk piece by piece, never whole in memory.

pynetdicom writes the data set of a C-STORE into an ``io.BytesIO``, or into a file in the system's
temporary folder, where a killed process would leave a patient's image. Here the ``BytesIO`` itself
is a file in the queue's folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from mahtrt import files
from mahtrt.serving.disk_queue import Received

TOO_LARGE, DISK, PROTOCOL = "too-large", "disk", "protocol"
HEAD_BYTES = 2**20  # an image's header takes some thousand


@dataclass(frozen=True, slots=True)
class Heading:
    """What goes before the data set, known when its first piece comes.

    Attributes:
        content: Preamble and file meta information (DICOM PS3.10 7.1).
        syntax: Transfer syntax UID.
    """

    content: bytes
    syntax: str


class IncomingObject(io.BytesIO):
    """The data set of one C-STORE request, as pynetdicom writes it.

    Attributes:
        problem: Why it is not kept, "" while it is: ``too-large``, ``disk`` or ``protocol``.
        head: The first bytes of the data set, at most :data:`HEAD_BYTES`.
        syntax: Its transfer syntax UID.
    """

    def __init__(
        self,
        new_file: Callable[[], tuple[Path, BinaryIO]],
        heading: Callable[[], Heading],
        most_bytes: int,
    ) -> None:
        super().__init__()
        self.problem = ""
        self.head, self.syntax = bytearray(), ""
        self._new_file, self._heading, self._most_bytes = new_file, heading, most_bytes
        self._path: Path | None = None
        self._file: BinaryIO | None = None
        self._hash, self._size = hashlib.sha256(), 0

    def write(self, data: Any, /) -> int:
        """Take a piece. What goes wrong is kept for the answer to the whole object."""
        if not self.problem:
            try:
                self._keep(data)
            except OSError:
                self._give_up(DISK)
            except Exception:  # a request that has no transfer syntax or no UID
                self._give_up(PROTOCOL)
        return len(data)

    def finish(self) -> Received | None:
        """Have the whole object on the disk; None where it is not kept, see :attr:`problem`."""
        if self._file is None or self._path is None:
            self.problem = self.problem or PROTOCOL
            return None
        try:
            files.flush(self._file)
            self._file.close()
        except OSError:
            self._give_up(DISK)
            return None
        path, self._path = self._path, None
        return Received(path, self._hash.hexdigest(), self._size)

    def close(self) -> None:
        """Remove what nobody took, as when the association ends in the middle."""
        if not self.closed:
            self._give_up(self.problem)
        super().close()

    def _keep(self, data: bytes) -> None:
        if self._file is None:
            heading = self._heading()
            self._path, self._file = self._new_file()
            self.syntax = heading.syntax
            self._hash.update(heading.syntax.encode() + b"\n")
            self._file.write(heading.content)
            self._size = len(heading.content)
        self._size += len(data)
        if self._size > self._most_bytes:
            self._give_up(TOO_LARGE)
            return
        self._hash.update(data)
        self._file.write(data)
        self.head += data[: HEAD_BYTES - len(self.head)]

    def _give_up(self, problem: str) -> None:
        self.problem = problem
        path, self._path = self._path, None
        file, self._file = self._file, None
        with contextlib.suppress(OSError):  # what cannot be removed now is swept at the next start
            if file is not None:
                file.close()
        with contextlib.suppress(OSError):
            if path is not None:
                files.remove(path)
