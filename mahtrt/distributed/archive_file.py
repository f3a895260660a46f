"""A file of an archive: what it is called, which images are in it, and their pixels."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from mahtrt.data.dicom_file import MOST_FRAMES
from mahtrt.data.dicom_header import dicom_header
from mahtrt.data.dicom_start import START_BYTES, is_dicom
from mahtrt.data.frames import frame_stem, split_frame
from mahtrt.data.images import DICOM_SUFFIXES, ReadImage, image_from_bytes
from mahtrt.data.limits import MOST_IMAGE_BYTES
from mahtrt.data.studies import look_at, tells_image
from mahtrt.distributed.listing import ListedFile
from mahtrt.distributed.storage import Storage, is_url, joined, storage_of
from mahtrt.errors import ImageError
from mahtrt.names import text_of_path
from mahtrt.reading import Wanted

_FRAME = re.compile(r"(.+)#([1-9][0-9]{0,8})", re.DOTALL)
_NO_FILE = (FileNotFoundError, IsADirectoryError)


@dataclass(frozen=True, slots=True)
class Image:
    """An image of a file.

    Attributes:
        called: What results call it.
        within: Its name within its archive, as a spacing sidecar may call it.
        frame: Which frame of the file it is, counted from 1; None of a file with a single one.
    """

    called: str
    within: str
    frame: int | None = None

    @property
    def picture(self) -> str:
        """The name of its overlay, which no image of another name has."""
        digest = hashlib.sha256(self.called.encode()).hexdigest()[:8]
        return f"{text_of_path(frame_stem(Path(self.called)))}-{digest}.overlay.png"


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """An image file.

    Attributes:
        place: Where it is read.
        called: What results call it: of DICOM below a folder, digests of its path.
        within: Its name within its archive.
        frames: How many images it has.
        frame: The one that a user named; None where he named the file.
    """

    listed: ListedFile
    place: str
    called: str
    within: str
    frames: int = 1
    frame: int | None = None

    def read(self) -> bytes:
        """The whole file.

        Raises:
            ImageError: It is not there, cannot be read, or is too large.
        """
        wanted = Wanted("an image file", ImageError, called=self.called)
        return storage_of(self.place).read(self.place, wanted, MOST_IMAGE_BYTES)

    def images(self) -> list[Image]:
        """Every image of the file."""
        if not 1 < self.frames <= MOST_FRAMES:
            return [Image(self.called, self.within, self.frame)]
        numbers = range(1, self.frames + 1)
        return [Image(f"{self.called}#{n}", f"{self.within}#{n}", n) for n in numbers]

    def decode(self, content: bytes, image: Image) -> ReadImage:
        """The pixels of an image.

        Raises:
            ImageError, MissingComponentError: As :func:`mahtrt.data.images.read_image`.
        """
        as_dicom = Path(self.place).suffix.lower() in DICOM_SUFFIXES
        return image_from_bytes(content, image.called, image.frame, as_dicom=as_dicom)


def open_file(listed: ListedFile) -> ArchiveFile | str | None:
    """What a file of an archive is, by its start.

    Returns:
        The kind of a DICOM object without an image; None for a file below a folder that is no
        image at all.

    Raises:
        ImageError: Nobody can say what it is: a folder that cannot be listed, or a file without a
            telling name that cannot be read.
        UsageError, MissingComponentError, DataError: As ``storage_of``.
    """
    if listed.problem:
        told = f"a folder that cannot be listed ({listed.problem})"
        raise ImageError(listed.called, got=told, expected="one that may be read")
    place, frame = _file_and_frame(listed.location)
    storage = storage_of(place)
    path = Path(place)

    def start(most: int) -> bytes:
        return storage.start(place, most)

    if not listed.top:
        header = None if frame else dicom_header(start, path.suffix)
        called = text_of_path(listed.location)
        frames = 1 if header is None else header.frames
        return ArchiveFile(listed, place, called, called, frames, frame)
    if not tells_image(listed.within):
        first = start(START_BYTES)
        if not first:
            _refuse_unreadable(storage, place, listed.called)
        if not is_dicom(first):
            return None
    found = look_at(start, path, listed.within)
    if isinstance(found, str):
        return found
    within = text_of_path(found.name)
    called = text_of_path(joined(listed.top, found.name))
    return ArchiveFile(listed, place, called, within, found.frames)


def name_of(listed: ListedFile) -> str:
    """What the rows of a file of an archive call it."""
    try:
        file = open_file(listed)
    except Exception:  # its row says what is wrong
        return listed.called
    return file.called if isinstance(file, ArchiveFile) else listed.called


def _refuse_unreadable(storage: Storage, place: str, called: str) -> None:
    """Tell a file that cannot be read from an empty one, a link to a folder or one that is gone.

    Raises:
        ImageError: It cannot be read.
    """
    wanted = Wanted("an image file", ImageError, "Check who may read it.", called)
    try:
        with storage.open(place, wanted) as file:
            file.read(1)
    except ImageError as error:
        if error.__cause__ and not isinstance(error.__cause__, _NO_FILE):
            raise
    except Exception as error:  # stores raise errors of their own packages
        raise wanted.refuse(Path(place), type(error).__name__) from error


def _file_and_frame(location: str) -> tuple[str, int | None]:
    """The file of a location, and the frame of it that a user named."""
    if is_url(location):
        found = _FRAME.fullmatch(location)
        return (found[1], int(found[2])) if found else (location, None)
    path, frame = split_frame(Path(location))
    return str(path), frame
