"""Which image formats may be decoded, and by what: a format is known by its first bytes.

Pillow on its own tries every format that it knows, and some start other programs (Ghostscript for
EPS). Here the content picks one decoder, and no other is even imported. Limits of a single piece
of metadata (text, ICC profile, what a TIFF tag may lead to) are Pillow's own, but for the numbers
in tags (:mod:`mahtrt.data.tiff_tags`). Pillow's limit of pixels is a setting of the whole process,
so mahtrt has its own and neither reads nor changes that one.
"""

from __future__ import annotations

import importlib
import io
import re
from dataclasses import dataclass

from PIL import Image

from mahtrt.data.limits import check_image_size
from mahtrt.data.tiff_tags import refuse_many_numbers
from mahtrt.errors import ImageError

# A progressive JPEG goes over all pixels once per scan: encoders make about ten. EXIF data go into
# one segment, and Pillow joins and reads those of several while it opens the file.
MOST_JPEG_PARTS = 100
_JPEG_PARTS = {"scans": b"\xff\xda", "EXIF segments": b"Exif\0\0"}


EXPECTED = "an image (BMP, JPEG, MPO, PNG, PPM, PGM, PBM, TIFF, WebP or DICOM)"


@dataclass(frozen=True, slots=True)
class _Format:
    """A format that is read.

    Attributes:
        magic: Its first bytes.
        module, opener: The function of Pillow that opens it.
    """

    magic: re.Pattern[bytes]
    module: str
    opener: str


_FORMATS = (
    _Format(re.compile(rb"\x89PNG\r\n\x1a\n"), "PIL.PngImagePlugin", "PngImageFile"),
    # Also MPO, which is a JPEG with more of them behind.
    _Format(re.compile(rb"\xff\xd8\xff"), "PIL.JpegImagePlugin", "jpeg_factory"),
    _Format(
        re.compile(rb"II\x2a\x00|MM\x00\x2a|II\x00\x2a|MM\x2a\x00|II\x2b\x00"),
        "PIL.TiffImagePlugin",
        "TiffImageFile",
    ),
    _Format(re.compile(rb"RIFF....WEBPVP8", re.DOTALL), "PIL.WebPImagePlugin", "WebPImageFile"),
    _Format(re.compile(rb"BM"), "PIL.BmpImagePlugin", "BmpImageFile"),
    _Format(re.compile(rb"P[0-6]\s"), "PIL.PpmImagePlugin", "PpmImageFile"),
)


def open_picture(content: bytes, subject: str) -> Image.Image:
    """Open an image file that is in memory; nothing is decoded yet.

    Args:
        content: BMP, JPEG, MPO, PNG, PPM (PGM, PBM), TIFF or WebP.
        subject: The file, for messages.

    Raises:
        ImageError: Another format, or too many pixels.
        Exception: Whatever Pillow raises on a damaged file.
    """
    found = next((known for known in _FORMATS if known.magic.match(content)), None)
    if found is None:
        raise ImageError(
            subject,
            got="a file that cannot be decoded (its first bytes are of no format that is read)"
            if content
            else "an empty file",
            expected=EXPECTED,
            fix="Save it as PNG.",
        )
    if found.opener == "TiffImageFile":
        refuse_many_numbers(content, subject)
    elif found.opener == "jpeg_factory":
        refuse_many_parts(content, "EXIF segments", subject)
    opener = getattr(importlib.import_module(found.module), found.opener)
    picture: Image.Image = opener(io.BytesIO(content), "")
    check_image_size(*picture.size, subject)
    if "progressive" in picture.info:
        refuse_many_parts(content, "scans", subject)
    return picture


def refuse_many_parts(jpeg: bytes, part: str, subject: str) -> None:
    """Refuse a JPEG of more ``scans`` or ``EXIF segments`` than any image needs.

    Raises:
        ImageError: Too many.
    """
    count = jpeg.count(_JPEG_PARTS[part])
    if count > MOST_JPEG_PARTS:
        raise ImageError(
            subject,
            got=f"a JPEG of {count} {part}",
            expected=f"at most {MOST_JPEG_PARTS}",
            fix="Save it again as a baseline JPEG or PNG.",
        )
