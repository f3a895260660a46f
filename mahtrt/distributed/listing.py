"""The files of an archive, one after the other: folders are walked while their images are run.

Nothing keeps the whole list: of a folder the names in it are in memory, of a list one row, and of
everything that came already a digest, so that no file comes twice. No file is opened here; what is
in it is found out where its image is run.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mahtrt.data.file_dataset import natural_key
from mahtrt.data.frames import is_image_file, split_frame
from mahtrt.data.studies import may_be_image, tells_image
from mahtrt.distributed.digest_set import DigestSet
from mahtrt.distributed.storage import (
    LocalFiles,
    Storage,
    is_below,
    is_url,
    joined,
    storage_of,
    text_of_location,
)
from mahtrt.errors import DataError, UsageError
from mahtrt.names import text_of_path
from mahtrt.reading import Wanted

LIST_SUFFIXES = (".csv", ".tsv")
_LIST = Wanted("a list of image files: a CSV with one in the first cell of each row", DataError)


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file that may be an image.

    Attributes:
        location: Its path or URL; of a frame that a user named, with its number.
        within: Its path within the folder that the user gave; "" for a file that he named.
        top: That folder, as it was given.
        problem: Of a folder in its place: why nobody can say which files are in it.
    """

    location: str
    within: str = ""
    top: str = ""
    problem: str = ""

    @property
    def called(self) -> str:
        """What it is called where it cannot be opened; of files below a folder, a digest."""
        if not self.top:
            return text_of_path(self.location)
        digest = hashlib.sha256(self.within.encode("utf-8", "surrogatepass")).hexdigest()
        return joined(self.top, digest[:12])


Chunk = tuple[ListedFile, ...]


def check_archives(archives: Sequence[str]) -> None:
    """Refuse what is not there, before anything runs.

    Raises:
        DataError: Nothing is at one of the locations.
    """
    if not archives:
        raise DataError("archive", got="none", expected="a folder, a CSV list or image files")
    for archive in archives:
        local = not is_url(archive)
        there = (local and is_image_file(Path(archive))) or storage_of(archive).exists(archive)
        if not there:
            raise DataError(
                archive,
                got="nothing there",
                expected="a folder, a CSV list of image files, or an image file",
                fix="Check the path.",
            )
        if local and os.path.isdir(archive) and not os.access(archive, os.R_OK | os.X_OK):
            raise DataError(archive, got="Permission denied", expected="a folder that may be read")


def check_overlay(overlay: str | os.PathLike[str] | None, archives: Sequence[str]) -> None:
    """Refuse pictures that would be images of the archive themselves, and have pictures of theirs.

    Raises:
        UsageError: They would be written below one of the archives.
    """
    if overlay is None:
        return
    place = text_of_location(overlay)
    for archive in archives:
        if is_below(place, archive):
            raise UsageError(
                "--overlay",
                got=f"{place}, which lies in the archive {archive}",
                expected="a folder outside of it, since pictures in it would be run too",
            )


def files_of(archives: Sequence[str]) -> Iterator[ListedFile]:
    """Every file of some archives that may be an image, each once.

    Args:
        archives: Folders, lists and image files; names of folders are sorted naturally.

    Raises:
        DataError: A list that cannot be read.
    """
    seen = DigestSet()
    for archive in archives:
        storage = storage_of(archive)
        suffix = os.path.splitext(archive)[1].lower()
        if storage.is_folder(archive):
            found = _walk(storage, archive)
        elif suffix in LIST_SUFFIXES:
            found = _rows(storage, archive)
        else:
            found = iter([ListedFile(archive)])
        yield from (each for each in found if seen.add(each.location))


def chunks_of(listed: Iterable[ListedFile], size: int) -> Iterator[Chunk]:
    """Files, ``size`` at a time."""
    rest = iter(listed)
    while chunk := tuple(itertools.islice(rest, size)):
        yield chunk


def _walk(storage: Storage, top: str) -> Iterator[ListedFile]:
    """Files below a folder, depth first; without recursion, folders may lie deeper than a stack.

    A folder that cannot be listed comes itself, so that its row says that files are missing.
    """
    pending = [""]
    while pending:
        within = pending.pop()
        place = joined(top, within) if within else top
        try:
            folders, names = storage.look_into(place)
        except DataError as error:
            yield ListedFile(place, within, top if within else "", _problem(error))
            continue
        for name in sorted(names, key=natural_key):
            if not name.startswith(".") and may_be_image(name):
                path = f"{within}/{name}" if within else name
                yield ListedFile(joined(top, path), path, top)
        shown = (name for name in folders if not name.startswith("."))
        deeper = sorted(shown, key=natural_key, reverse=True)
        pending += [f"{within}/{name}" if within else name for name in deeper]


def _rows(storage: Storage, place: str) -> Iterator[ListedFile]:
    """The files that a list names in the first cell of each row.

    Relative names begin at the list's folder, or in a folder beside it named like the list or
    ``images``. A first row whose first cell is no name of an image, and names no file that is
    there, is a header.
    """
    with storage.open(place, _LIST) as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
        start = text.readline()
        delimiter = max(",;\t", key=start.count)
        reader = csv.reader(itertools.chain([start], text), delimiter=delimiter)
        try:
            for number, row in enumerate(reader, start=1):
                name = row[0].strip() if row else ""
                if name:
                    location = _located(storage, place, name)
                    if number > 1 or _is_name(name) or _is_file(location):
                        yield ListedFile(location)
        except csv.Error as error:
            where = f"{place} row {reader.line_num}"
            raise DataError(where, got=str(error), expected=_LIST.expected) from error
        except UsageError as error:
            where = f"{place} row {reader.line_num}: {error.subject}"
            told = {"got": error.got, "expected": error.expected, "fix": error.fix}
            raise UsageError(where, **told) from error


def _problem(error: DataError) -> str:
    """Why a folder cannot be listed, in words of the system: a store's may quote names."""
    cause = error.__cause__
    if isinstance(cause, OSError) and cause.errno:
        return os.strerror(cause.errno)
    return type(cause or error).__name__


def _is_name(cell: str) -> bool:
    file, frame = split_frame(Path(cell))
    return frame is not None or tells_image(file.name) or "/" in cell


def _is_file(location: str) -> bool:
    if not is_url(location):
        return is_image_file(Path(location))
    storage = storage_of(location)
    return storage.exists(location) and not storage.is_folder(location)


def _located(storage: Storage, place: str, name: str) -> str:
    """Where a file of a list is: an absolute path, a URL, or a path from the list's folder.

    Raises:
        UsageError: A URL that :func:`text_of_location` refuses.
    """
    if is_url(name):
        return text_of_location(name)
    if os.path.isabs(name):
        return name
    folder = place.rpartition("/")[0]
    if not isinstance(storage, LocalFiles):
        return f"{folder}/{name}"
    base, stem = Path(place).parent, Path(place).stem
    tried = (base / name, base / stem / name, base / "images" / name)
    return str(next((each for each in tried if is_image_file(each)), tried[0]))
