"""Objects of which no report can ever be made, known by their header when they have come in.

They are refused at C-STORE, so that who sends them is told, and nothing of them is kept.
"""

from __future__ import annotations

import re
import zlib
from typing import Any

from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from mahtrt.data.dicom_damage import silent_dicom
from mahtrt.data.dicom_groups import CountedReads
from mahtrt.serving.incoming import HEAD_BYTES, IncomingObject

# Why no report can be made.
SEVERAL_FRAMES, NO_PIXELS, NO_UID = "several-frames", "no-pixels", "no-uid"

_PIXELS, _FRAMES = Tag("PixelData"), Tag("NumberOfFrames")
# What a report refers to an image by (DICOM PS3.3 C.17.2.1); without them no archive can file it.
_UIDS = tuple(map(Tag, ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")))
_UID = re.compile(rb"(?=.{1,64}\Z)\d+(\.\d+)*")  # PS3.5 9.1
_PADDING = b"\0 "


def why_never(content: object) -> str:
    """Why no report can be made of an object, in a word that quotes nothing of it.

    Args:
        content: The object, as it came in.

    Returns:
        "" where nothing speaks against a report, and where a damaged header tells nothing.
    """
    if not isinstance(content, IncomingObject) or content.problem or not content.head:
        return ""
    head, is_whole = bytes(content.head), len(content.head) < HEAD_BYTES
    # pydicom raises almost anything on a damaged header; reading the image then tells what it is.
    try:
        if content.syntax == DeflatedExplicitVRLittleEndian:
            inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            head = inflater.decompress(head, HEAD_BYTES)
            is_whole = is_whole and inflater.eof
        with silent_dicom():
            return _why_never(head, content.syntax, is_whole=is_whole)
    except Exception:
        return ""


def _why_never(head: bytes, syntax: str, *, is_whole: bool) -> str:
    has_pixels = False

    def is_end(tag: BaseTag, kind: str | None, length: int) -> bool:
        nonlocal has_pixels
        has_pixels = bool(tag == _PIXELS)
        return has_pixels

    found = read_dataset(
        CountedReads(head),
        is_implicit_VR=syntax == ImplicitVRLittleEndian,
        is_little_endian=syntax != ExplicitVRBigEndian,
        stop_when=is_end,
        specific_tags=[_FRAMES, *_UIDS],
    )
    # Values are taken as they came: pydicom's own conversion may quote them in warnings.
    frames = _value(found, _FRAMES)
    if frames.isdigit() and int(frames) > 1:
        return SEVERAL_FRAMES
    if not has_pixels and is_whole:
        return NO_PIXELS
    if not (has_pixels or is_whole):
        return ""
    return "" if all(_UID.fullmatch(_value(found, tag)) for tag in _UIDS) else NO_UID


def _value(dataset: Any, tag: BaseTag) -> bytes:
    value = dataset.get_item(tag).value if tag in dataset else b""
    return value.strip(_PADDING) if isinstance(value, bytes) else b""
