"""Files of this machine and of object stores behind one set of calls.

A location is a path, or a URL that ``fsspec`` reads: ``s3://bucket/archive``. Credentials come from
the environment or the configuration of the store's own package, never from the URL: names of images
begin with the location, and go into results.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from mahtrt import files
from mahtrt.atomic import write_bytes_atomic
from mahtrt.data.dicom_header import start_of_file
from mahtrt.errors import DataError, MissingComponentError, UsageError, require
from mahtrt.reading import Wanted, open_regular, read_regular

# A path on Windows begins with one letter; Path leaves one slash of a URL's two.
_PROTOCOL = r"((?:[a-z][a-z0-9+._-]+::)*[a-z][a-z0-9+._-]+)"  # of several file systems, all
_URL = re.compile(rf"{_PROTOCOL}:/{{1,2}}(?!/)(.*)|{_PROTOCOL}:///?(.*)", re.DOTALL | re.IGNORECASE)


class Storage(Protocol):
    """What is done with files, wherever they are."""

    def is_folder(self, place: str) -> bool:
        """Whether there is a folder."""

    def exists(self, place: str) -> bool:
        """Whether there is a file or a folder."""

    def look_into(self, folder: str) -> tuple[list[str], list[str]]:
        """Names of the folders and of the files in a folder, unsorted; none of a link's.

        A folder that is not there has none.

        Raises:
            DataError: It cannot be listed.
        """

    def start(self, place: str, most: int) -> bytes:
        """The first bytes of a file; nothing of one that cannot be read."""

    def read(self, place: str, wanted: Wanted, most: int) -> bytes:
        """A whole file, as :func:`mahtrt.reading.read_regular` reads it."""

    def open(self, place: str, wanted: Wanted) -> BinaryIO:
        """A file, to be read in parts."""

    def size_and_time(self, place: str) -> tuple[int, float]:
        """Bytes of a file, and when it was written, as far as the store knows."""

    def write(self, place: str, data: bytes) -> None:
        """Write a file, whole or not at all."""

    def remove(self, place: str) -> None:
        """Remove a file, if it is there."""


@dataclass(frozen=True, slots=True)
class LocalFiles:
    """Files of this machine, and of file systems that it mounts."""

    def is_folder(self, place: str) -> bool:
        return os.path.isdir(place)

    def exists(self, place: str) -> bool:
        return os.path.exists(place)

    def look_into(self, folder: str) -> tuple[list[str], list[str]]:
        folders, names = list[str](), list[str]()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    is_folder = entry.is_dir(follow_symlinks=False)
                    (folders if is_folder else names).append(entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return [], []
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise DataError(folder, got=reason, expected="a folder that may be read") from error
        return folders, names

    def start(self, place: str, most: int) -> bytes:
        return start_of_file(Path(place))(most)

    def read(self, place: str, wanted: Wanted, most: int) -> bytes:
        return read_regular(Path(place), wanted, most)

    def open(self, place: str, wanted: Wanted) -> BinaryIO:
        return open_regular(Path(place), wanted)

    def size_and_time(self, place: str) -> tuple[int, float]:
        found = os.stat(place)
        return found.st_size, found.st_mtime

    def write(self, place: str, data: bytes) -> None:
        write_bytes_atomic(Path(place), data)

    def remove(self, place: str) -> None:
        files.remove(Path(place))


@dataclass(frozen=True, slots=True)
class StoredObjects:
    """Objects of a store that ``fsspec`` knows; each is written by one call, which is whole."""

    system: Any

    def is_folder(self, place: str) -> bool:
        with _naming(place):
            return bool(self.system.isdir(place))

    def exists(self, place: str) -> bool:
        with _naming(place):
            return bool(self.system.exists(place))

    def look_into(self, folder: str) -> tuple[list[str], list[str]]:
        with _naming(folder):
            self.system.invalidate_cache(folder)
            try:
                found = self.system.ls(folder, detail=True)
            except FileNotFoundError:
                return [], []
        folders, names = list[str](), list[str]()
        for each in found:
            name = str(each["name"]).rstrip("/").rpartition("/")[2]
            (folders if each["type"] == "directory" else names).append(name)
        return folders, names

    def start(self, place: str, most: int) -> bytes:
        try:
            return bytes(self.system.cat_file(place, start=0, end=most))
        except Exception:  # stores raise errors of their own packages; reading it tells
            return b""

    def read(self, place: str, wanted: Wanted, most: int) -> bytes:
        try:
            content = bytes(self.system.cat_file(place, start=0, end=most + 1))
        except FileNotFoundError as error:
            raise wanted.refuse(Path(place), "no such object") from error
        except Exception as error:
            raise wanted.refuse(Path(place), type(error).__name__) from error
        if len(content) > most:
            raise wanted.refuse(Path(place), f"over {most} bytes, the most that is read")
        return content

    def open(self, place: str, wanted: Wanted) -> BinaryIO:
        try:
            opened: BinaryIO = self.system.open(place, "rb")
        except Exception as error:
            raise wanted.refuse(Path(place), type(error).__name__) from error
        return opened

    def size_and_time(self, place: str) -> tuple[int, float]:
        self.system.invalidate_cache(place)
        found = self.system.info(place)
        when = found.get("mtime") or found.get("LastModified") or found.get("created") or 0.0
        return int(found["size"]), float(getattr(when, "timestamp", lambda: when)())

    def write(self, place: str, data: bytes) -> None:
        with _naming(place):
            self.system.pipe_file(place, data)

    def remove(self, place: str) -> None:
        with _naming(place), contextlib.suppress(FileNotFoundError):
            self.system.rm_file(place)


def text_of_location(location: str | os.PathLike[str]) -> str:
    """A location as names of images begin with it; a URL is as it was before Path had it.

    Raises:
        UsageError: A URL with a user in it, or of several file systems in one another.
    """
    text = os.fspath(location)
    found = None if os.path.lexists(text) else _URL.fullmatch(text)
    if found is None:
        return str(Path(text))
    protocol, rest = (found[1], found[2]) if found[1] else (found[3], found[4])
    if protocol == "file":
        return "/" + rest.strip("/")
    if "@" in rest.partition("/")[0] or "::" in text:
        raise UsageError(
            f"a URL of {protocol}",
            got="several file systems in one another" if "::" in text else "a user in it",
            expected="PROTOCOL://PLACE",
            fix="Credentials come from the environment of the store's package.",
        )
    return f"{protocol}://{rest.rstrip('/')}"


def joined(folder: str, within: str) -> str:
    """The location of what is within a folder."""
    if folder in (".", "/"):
        return within if folder == "." else f"/{within}"
    return f"{folder}/{within}" if within else folder


def is_below(location: str, folder: str) -> bool:
    """Whether a location is a folder, or within it, also by way of links."""
    if is_url(location) != is_url(folder):
        return False
    if not is_url(location):
        location, folder = os.path.realpath(location), os.path.realpath(folder)
    return f"{location}/".startswith(f"{folder.rstrip('/')}/")


def is_url(location: str) -> bool:
    """Whether a location is in an object store."""
    return "://" in location and not os.path.lexists(location)


def storage_of(location: str) -> Storage:
    """What reads and writes at a location.

    Raises:
        UsageError: A protocol that ``fsspec`` does not know.
        MissingComponentError: ``fsspec``, or the package of the store, is not installed.
        DataError: A store that cannot be reached.
    """
    if not is_url(location):
        return LocalFiles()
    fsspec = require("fsspec", extra="ray", needed_for=f"reading {location}")
    protocol = location.partition("://")[0]
    try:
        fsspec.get_filesystem_class(protocol)
    except ValueError as error:
        raise UsageError(
            location, got=f"the protocol {protocol}", expected="one that fsspec knows"
        ) from error
    except ImportError as error:
        raise MissingComponentError(
            location, got=str(error), expected="the store's package to be installed"
        ) from error
    with _naming(location):
        return StoredObjects(fsspec.core.url_to_fs(location)[0])


@contextlib.contextmanager
def _naming(place: str) -> Iterator[None]:
    """Turn what a store's package raises into one line that names the place."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:  # the packages have no base of their errors in common
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(place, got=reason, expected="a store that answers") from error
