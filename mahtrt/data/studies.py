"""Image files below a folder, studies of DICOM files included.

Studies come as exports of an archive: nested folders, files without an ending, and among the
images a DICOMDIR, reports, and objects that are no pictures. Those are passed over and counted.

Exports also name folders and files by patient, and nobody can tell which: a name may be shortened,
transcribed, or missing in the header. So a digest takes the place of every part of a DICOM image's
path below the folder: names of images go into results, reports and bundles. What a user names
himself stays as it is.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from mahtrt.data.dicom_file import MOST_FRAMES
from mahtrt.data.dicom_header import Start, dicom_header, has_dicom_magic, start_of_file
from mahtrt.data.frames import frame_path, split_frame
from mahtrt.data.images import DICOM_SUFFIXES, IMAGE_SUFFIXES

_DIGEST = 12
_NUMBER_ENDING = re.compile(r"\.[0-9]*|\.ima", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image file.

    Attributes:
        path: The file.
        name: What it is called: its path within the folder; of a DICOM image, digests of it.
        frames: How many it has.
    """

    path: Path
    name: str
    frames: int = 1

    def called(self, folder: Path) -> str:
        """What messages and results call the file; "" where that is its path."""
        hidden_name = self.name != self.path.relative_to(folder).as_posix()
        return str(folder / self.name) if hidden_name else ""

    def each_frame(self) -> list[tuple[str, Path]]:
        """Name and path of every frame; of a file with a single one, those of the file."""
        if not 1 < self.frames <= MOST_FRAMES:
            return [(self.name, self.path)]
        numbers = range(1, self.frames + 1)
        return [(f"{self.name}#{n}", frame_path(self.path, n)) for n in numbers]


@dataclass(frozen=True, slots=True)
class FoundImages:
    """What is below a folder.

    Attributes:
        images: The images, in the order in which they were found.
        passed_over: Kind of a DICOM object that is no image, to how many there are.
    """

    images: list[FoundImage] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)

    def look_into(self, folder: Path, top: Path) -> list[Path]:
        """Add the images of one folder below ``top``; gives the folders in it.

        Hidden files, folders that are links and those that may not be read are left out.
        """
        folders = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(folder / entry.name)
                    elif _may_be_image(folder / entry.name):
                        self._add(folder / entry.name, top)
        except OSError:
            pass
        return folders

    def _add(self, path: Path, top: Path) -> None:
        found = look_at(start_of_file(path), path, path.relative_to(top).as_posix())
        if isinstance(found, str):
            self.passed_over[found] += 1
        else:
            self.images.append(found)


def look_at(start: Start, path: Path, name: str) -> FoundImage | str:
    """What a file below a folder is, by its start.

    Args:
        start: What reads it.
        path: The file.
        name: Its path within the folder, with ``/`` between its parts.

    Returns:
        The image; of a DICOM object without one, its kind.
    """
    suffix = path.suffix.lower()
    other = suffix in IMAGE_SUFFIXES - DICOM_SUFFIXES and not has_dicom_magic(start)
    header = None if other else dicom_header(start, suffix)
    if header is None:
        return FoundImage(path, name)
    return header.kind or FoundImage(path, hidden(name, header.salt), header.frames)


def frames_of_file(path: Path) -> list[Path]:
    """The frames of an image file that a user names: of one with several, each; else the file."""
    header = None if split_frame(path)[1] else dicom_header(start_of_file(path), path.suffix)
    frames = 1 if header is None else header.frames
    return [each for _, each in FoundImage(path, "", frames).each_frame()]


def passed_over_note(passed_over: Mapping[str, int]) -> str:
    """What the user should know of DICOM objects that are no images; "" without any."""
    if not passed_over:
        return ""
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(passed_over.items()))
    return f"passed over {sum(passed_over.values())} DICOM object(s) without an image: {kinds}"


def hidden(name: str, salt: str) -> str:
    """The name of a file below a folder, with a digest in place of each part of its path.

    Args:
        name: The path, with ``/`` between its parts.
        salt: What the digests are salted with, so that no table of digests finds a name.

    Returns:
        As many parts; the file keeps its ending where it is that of an image.
    """
    parts = PurePosixPath(name).parts
    salted = (f"{salt}/{part}".encode(errors="surrogateescape") for part in parts)
    digests = "/".join(hashlib.sha256(each).hexdigest()[:_DIGEST] for each in salted)
    suffix = PurePosixPath(name).suffix.lower()
    return digests + (suffix if suffix in IMAGE_SUFFIXES else "")


def may_be_image(name: str) -> bool:
    """Whether a file may be an image by its name: its ending is that of one, or tells nothing."""
    suffix = PurePosixPath(name).suffix.lower()
    return suffix in IMAGE_SUFFIXES or not suffix or bool(_NUMBER_ENDING.fullmatch(suffix))


def tells_image(name: str) -> bool:
    """Whether a file is an image by its ending; of others the start decides."""
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def _may_be_image(path: Path) -> bool:
    """Whether a file is an image by its ending; one without a telling ending, by its content."""
    if tells_image(path.name):
        return os.path.isfile(path)
    return may_be_image(path.name) and has_dicom_magic(start_of_file(path))
