"""One file of a bundle: opened once, and hashed as it is read.

What is given to a runtime, a decoder or another bundle are the bytes that were hashed. A path that
is hashed first and opened again afterwards can name another file by then.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from mahtrt import files
from mahtrt.bundle.manifest import REBUILD, FileRecord
from mahtrt.errors import IntegrityError
from mahtrt.reading import Content, Wanted, open_regular

_CHUNK_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class BundleFile:
    """A file of a bundle as its manifest describes it.

    Attributes:
        root: The bundle's folder.
        verify: Whether size and digest are checked; without, they were checked before.
    """

    root: Path
    record: FileRecord
    verify: bool = True

    @property
    def name(self) -> str:
        """The file's name without folders."""
        return PurePosixPath(self.record.path).name

    @property
    def place(self) -> Path:
        """Where the file is."""
        return self.root / self.record.path

    def __str__(self) -> str:
        return str(self.place)

    def read_bytes(self) -> bytes:
        """The whole content.

        Raises:
            IntegrityError: The file is missing, changed, no regular file, or a link that leads out
                of the bundle.
        """
        with self._opened() as reader:
            return reader.read()

    def check(self) -> None:
        """Read and hash the file; raises as :meth:`read_bytes` does."""
        with self._opened() as reader:
            while reader.read(_CHUNK_BYTES):
                pass

    @contextlib.contextmanager
    def held(self) -> Iterator[Path]:
        """A path to the file that was hashed, for a library that reads large files itself.

        From memory, OpenVINO and ONNX Runtime take a third longer to read a graph, and twice the
        memory. On Linux the path leads to the open file, whatever has the file's name by then.
        Raises as :meth:`read_bytes` does.
        """
        with self._opened() as reader:
            while self.verify and reader.read(_CHUNK_BYTES):
                pass
            reader.compare()
            by_descriptor = Path(f"/proc/self/fd/{reader.file.fileno()}")
            yield by_descriptor if by_descriptor.exists() else self.place

    def copy_to(self, place: Path) -> None:
        """Copy the content, and hash what is copied; raises as :meth:`read_bytes` does."""
        with self._opened() as reader:
            files.copy_from(reader, place)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[_Reader]:
        """The open file; its digest is compared when the block ends."""
        wanted = Wanted(f"{self.record.size} bytes", IntegrityError, REBUILD)
        refuse_link_out(self.root, self.place, wanted)
        with open_regular(self.place, wanted) as file:
            size = os.fstat(file.fileno()).st_size
            if self.verify and size != self.record.size:
                raise wanted.refuse(self.place, f"{size} bytes")
            reader = _Reader(file, self, wanted, hashlib.sha256() if self.verify else None)
            yield reader
            reader.compare()


@dataclass(frozen=True, slots=True)
class _Reader:
    """An open file that hashes what is read of it, where there is a digest to make."""

    file: BinaryIO
    of: BundleFile
    wanted: Wanted
    digest: hashlib._Hash | None

    def read(self, size: int = -1) -> bytes:
        try:
            content = self.file.read(size)
        except OSError as error:
            raise self.wanted.refuse(self.of.place, error.strerror or str(error)) from error
        if self.digest is not None:
            self.digest.update(content)
        return content

    def compare(self) -> None:
        """Refuse what was read, unless it is what the manifest says."""
        if self.digest is not None and self.digest.hexdigest() != self.of.record.sha256:
            raise IntegrityError(
                str(self.of),
                got=f"SHA-256 {self.digest.hexdigest()}",
                expected=self.of.record.sha256,
                fix=REBUILD,
            )


@contextlib.contextmanager
def held(file: Content) -> Iterator[Path]:
    """A path to a file: its own, or that of :meth:`BundleFile.held`."""
    if isinstance(file, BundleFile):
        with file.held() as place:
            yield place
    else:
        assert isinstance(file, Path)
        yield file


def refuse_link_out(root: Path, place: Path, wanted: Wanted) -> None:
    """Refuse a file of a bundle that lies elsewhere.

    Raises:
        MahtrtError: ``wanted.error``: a link in the path leads out of ``root``.
    """
    if not Path(os.path.realpath(place)).is_relative_to(os.path.realpath(root)):
        raise wanted.refuse(place, "a link that leads out of the bundle")
