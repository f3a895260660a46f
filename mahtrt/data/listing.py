"""What the readers of data sets have in common: finding image files, and points that can be.

A file that lists images may name any image that its reader may open, also by an absolute path or
one with ``..``: such lists are how data sets on shared disks are used. So a list deserves the same
trust as a folder of images: what it names may end up as a golden image in a bundle.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.file_dataset import Entry, natural_key
from mahtrt.data.frames import is_image_file, split_frame
from mahtrt.data.images import IMAGE_SUFFIXES
from mahtrt.data.limits import MOST_IMAGES, MOST_TEXT_BYTES
from mahtrt.data.studies import FoundImages
from mahtrt.errors import DataError
from mahtrt.reading import Wanted, read_regular

MOST_COORDINATE_PX = 1e6
LONGEST_NAME = 1024


def find_images(folder: Path) -> FoundImages:
    """Image files below a folder, naturally sorted by their paths.

    Hidden files, folders that are links and those that may not be read are left out. DICOM objects
    that are no images are counted.

    Raises:
        DataError: More than a data set may hold.
    """
    found = FoundImages()
    pending = [folder]  # and no recursion: folders may lie deeper than Python's stack
    while pending:
        pending += found.look_into(pending.pop(), folder)
        if len(found.images) > MOST_IMAGES:
            raise too_many(folder)
    found.images.sort(key=lambda each: natural_key(each.path.relative_to(folder).as_posix()))
    return found


def is_image_name(cell: str) -> bool:
    """Whether a cell of a list is the name of an image, or of a frame, by its ending."""
    name = Path(cell)
    return name.suffix.lower() in IMAGE_SUFFIXES or split_frame(name)[1] is not None


def locate(name: object, bases: Sequence[Path], where: str) -> tuple[str, Path]:
    """The name of an image as a list gives it, and the file: the first place where there is one.

    Raises:
        DataError: The name cannot be one.
    """
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
        raise DataError(where, got=repr(name)[:80], expected="the name of an image file")
    found = next((base / name for base in bases if is_image_file(base / name)), bases[0] / name)
    return name, found


def read_text(path: Path) -> str:
    """The text of a file that a user gave.

    Raises:
        DataError: No regular file, too large, not UTF-8, or with NUL bytes.
    """
    wanted = Wanted("a readable UTF-8 file", DataError)
    content = read_regular(path, wanted, MOST_TEXT_BYTES)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise wanted.refuse(path, str(error)) from error
    if "\0" in text:
        raise wanted.refuse(path, "NUL bytes")
    return text


def points_from(values: Sequence[float], where: str) -> NDArray[np.float32]:
    """Coordinates x, y, x, y, … as (K, 2); a point of which one is NaN is missing.

    Raises:
        DataError: A coordinate that no image has.
    """
    wide = np.array(values, np.float64).reshape(-1, 2)
    far = wide[np.abs(wide) > MOST_COORDINATE_PX]
    if far.size:
        raise DataError(where, got=f"{far[0]:g}", expected="a coordinate in pixels")
    points = wide.astype(np.float32)
    points[np.isnan(points).any(axis=1)] = np.nan
    return points


def same_count(entries: list[Entry], source: str) -> list[Entry]:
    """The entries, if all have as many points.

    Raises:
        DataError: They have not.
    """
    counts = {len(entry.points_px): entry for entry in entries if entry.points_px is not None}
    if len(counts) > 1:
        (one, first), (other, second) = sorted(counts.items())[:2]
        raise DataError(
            source,
            got=f"{one} points for {first.name} and {other} for {second.name}",
            expected="as many for each image",
        )
    return entries


def unique(entries: Sequence[Entry]) -> list[Entry]:
    """Entries with a number behind a name that comes again."""
    seen: dict[str, int] = {}
    numbered = []
    for entry in entries:
        count = seen[entry.name] = seen.get(entry.name, 0) + 1
        name = entry.name if count == 1 else f"{entry.name}#{count}"
        numbered.append(dataclasses.replace(entry, name=name))
    return numbered


def too_many(source: Path) -> DataError:
    """The error about a data set that is too large."""
    return DataError(
        str(source), got=f"over {MOST_IMAGES} images", expected="no more", fix="Give a part of it."
    )
