"""A short look into a file of a folder: is it DICOM, has it an image, and of how many frames?

Only the start of a file is read, up to where an image's size stands.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mahtrt.data.dicom_damage import reading_dicom
from mahtrt.data.dicom_file import inflated, storage_class
from mahtrt.data.dicom_groups import CountedReads
from mahtrt.data.dicom_start import START_BYTES, is_dicom
from mahtrt.data.images import DICOM_SUFFIXES
from mahtrt.data.limits import MOST_IMAGE_BYTES
from mahtrt.errors import ImageError, MissingComponentError, require
from mahtrt.reading import Wanted, open_regular

# The first bytes of a file, as many as are asked for at most; nothing of one that cannot be read.
Start = Callable[[int], bytes]

_NEEDED_FOR = "reading DICOM"
_STANDARD = "1.2.840.10008."
_LOOK_BYTES = 2**18  # the size of an image stands in the first few thousand
_LAST_GROUP = 0x0028  # Image Pixel
_TAGS = ("SOPClassUID", "StudyInstanceUID", "Rows", "NumberOfFrames")
# A DICOMDIR has no class in its data set (PS3.3 F.3.2.2), which may be as long as a disc is full.
_BY_META_GROUP = {"1.2.840.10008.1.3.10": "Media Storage Directory Storage"}
# Objects with pixels that are no picture of a patient (PS3.4 B.5).
_NO_PICTURES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.30",  # Parametric Map
        "1.2.840.10008.5.1.4.1.1.66.4",  # Segmentation
        "1.2.840.10008.5.1.4.1.1.66.7",  # Label Map Segmentation
        "1.2.840.10008.5.1.4.1.1.481.2",  # RT Dose
    }
)


@dataclass(frozen=True, slots=True)
class DicomHeader:
    """What the start of a DICOM file says.

    Attributes:
        kind: What the object is, such as ``Basic Text SR Storage``; "" for an image.
        frames: How many an image has.
        salt: What :func:`mahtrt.data.studies.hidden` salts with: the Study Instance UID, and
            where none can be read a digest of the start of the file.
    """

    kind: str = ""
    frames: int = 1
    salt: str = ""


def start_of_file(path: Path) -> Start:
    """What reads the start of a regular file."""
    return lambda most: _start(path, most)


def has_dicom_magic(start: Start) -> bool:
    """Whether a file begins as DICOM files do."""
    return is_dicom(start(START_BYTES))


def dicom_header(start: Start, suffix: str) -> DicomHeader | None:
    """What a file is by its start.

    Args:
        start: What reads it.
        suffix: The ending of the file's name.

    Returns:
        None where neither its start nor its ending is that of DICOM. Of a file that cannot be
        read, also as pydicom is not installed, an image of one frame: whoever reads it is told.
    """
    content = b""
    for most in (_LOOK_BYTES, MOST_IMAGE_BYTES):
        content = start(most)
        if not is_dicom(content):
            if suffix.lower() not in DICOM_SUFFIXES:
                return None
            break
        try:
            with reading_dicom("DICOM file", "header"):
                stored_as = storage_class(content)
                if stored_as in _BY_META_GROUP:
                    return DicomHeader(_BY_META_GROUP[stored_as], salt=_salt(content))
                dataset, passed = _dataset(content)
                if passed or len(content) < most:
                    return _header(dataset, content, stored_as)
        except MissingComponentError:
            break
        except ImageError:
            if len(content) < most:  # else it may go on behind the first look
                break
    return DicomHeader(salt=_salt(content))


def _salt(content: bytes) -> str:
    return hashlib.sha256(content[:_LOOK_BYTES]).hexdigest()


def _start(path: Path, most: int) -> bytes:
    wanted = Wanted("an image file", ImageError)
    try:
        with open_regular(path, wanted) as file:
            return file.read(min(most, os.fstat(file.fileno()).st_size))
    except (ImageError, OSError):
        return b""


def _dataset(content: bytes) -> tuple[Any, bool]:
    """The attributes that are looked at, and whether nothing of them can follow."""
    reader = require("pydicom.filereader", extra="dicom", needed_for=_NEEDED_FOR)
    passed: list[bool] = []

    def stop(tag: Any, _vr: str | None, _length: int) -> bool:
        if tag.group > _LAST_GROUP:
            passed.append(True)
        return bool(passed)

    tags = [require("pydicom.tag", extra="dicom", needed_for=_NEEDED_FOR).Tag(t) for t in _TAGS]
    stream = CountedReads(inflated(content, "header"))
    return reader.read_partial(stream, stop_when=stop, specific_tags=tags), bool(passed)


def _header(dataset: Any, content: bytes, stored_as: str) -> DicomHeader:
    kind = _kind(dataset, stored_as)
    salt = str(dataset.get("StudyInstanceUID") or "") or _salt(content)
    return DicomHeader(kind, 1 if kind else _frames(dataset), salt)


def _frames(dataset: Any) -> int:
    """How many frames there are; 1 where the file says nothing that can be: reading it tells."""
    try:
        return max(1, int(dataset.get("NumberOfFrames") or 1))
    except (TypeError, ValueError):
        return 1


def _kind(dataset: Any, stored_as: str) -> str:
    """What an object without an image is; "" for an image, also for a damaged one.

    Args:
        stored_as: Its class by the meta group, for what has none in its data set.
    """
    uid_from = require("pydicom.uid", extra="dicom", needed_for=_NEEDED_FOR).UID
    uid = uid_from(str(dataset.get("SOPClassUID") or stored_as))
    name = uid.name  # the number itself where the standard has no such class
    if str(uid) not in _NO_PICTURES and ("Rows" in dataset or not name or "Image" in name):
        return ""
    return name if str(uid).startswith(_STANDARD) and name != str(uid) else "other"
