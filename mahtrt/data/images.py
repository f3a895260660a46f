"""Image files to arrays: one reader for everything that is not geometry.

What comes out is what :func:`mahtrt.data.preprocess.preprocess` takes: (H, W) gray or (H, W, 3)
RGB, uint8 or uint16. Alpha is composited over black, CMYK and palettes become RGB, a rotation in
the EXIF data is applied, of several frames of a TIFF the first is taken. Gray of 16 bits keeps
them; colours of 16 bits are reduced to 8 by the decoder. :mod:`mahtrt.data.limits` says how large
files and images may be, and :mod:`mahtrt.data.pictures` which formats are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mahtrt.data.dicom_start import is_dicom
from mahtrt.data.frames import split_frame
from mahtrt.data.limits import MOST_IMAGE_BYTES
from mahtrt.data.pictures import EXPECTED, open_picture
from mahtrt.data.preprocess import check_image
from mahtrt.data.tiff_tags import refuse_many_numbers
from mahtrt.errors import ImageError
from mahtrt.reading import Wanted, read_regular

if TYPE_CHECKING:
    from mahtrt.data.dicom_facts import DicomFacts

DICOM_SUFFIXES = frozenset({".dcm", ".dicom"})
IMAGE_SUFFIXES = DICOM_SUFFIXES | frozenset(
    {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)

_GRAY_16 = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
_STORED = {"L": "u1", "I;16": "<u2", "I;16B": ">u2"}
_STRIP_PX = 2**20  # made an array at a time, which Pillow does faster than all at once
_TAG_ORIENTATION = 0x0112
_EXIF = b"Exif\0\0"
# How EXIF says that the camera was held, and what undoes it.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True, eq=False)
class ReadImage:
    """An image as it was read from a file.

    Attributes:
        pixels: (H, W) gray or (H, W, 3) RGB, uint8 or uint16, C-contiguous.
        dicom: What a DICOM file says about it; None for other files.
    """

    pixels: NDArray[np.generic]
    dicom: DicomFacts | None = None

    @property
    def spacing_mm(self) -> tuple[float, float] | None:
        """(row, column) in mm, None where the file states none."""
        return None if self.dicom is None else self.dicom.spacing.spacing_mm


def read_image_and_spacing(
    path: Path,
) -> tuple[NDArray[np.generic], tuple[float, float] | None]:
    """Read an image file, DICOM included.

    Returns:
        The pixels and the spacing of :func:`read_image`.

    Raises:
        ImageError, MissingComponentError: As :func:`read_image`.
    """
    found = read_image(path)
    return found.pixels, found.spacing_mm


def read_image(path: Path, called: str = "") -> ReadImage:
    """Read an image file, DICOM included.

    Args:
        path: The file, or a frame of it (:mod:`mahtrt.data.frames`).
        called: What messages call it; "" for the path.

    Raises:
        ImageError: Not there, not a regular file, not an image, damaged, too large, or unusable
            (float, 1x1, several frames and none named).
        MissingComponentError: A DICOM file, and pydicom or the decoder of its transfer syntax is
            not installed.
    """
    file, frame = split_frame(Path(path))
    content = read_regular(
        file, Wanted("an image file", ImageError, called=called), MOST_IMAGE_BYTES
    )
    is_named_so = file.suffix.lower() in DICOM_SUFFIXES
    return image_from_bytes(content, called or str(path), frame, as_dicom=is_named_so)


def image_from_bytes(
    content: bytes, subject: str, frame: int | None = None, *, as_dicom: bool = False
) -> ReadImage:
    """The image of a file that is in memory; its first bytes say what it is.

    Args:
        content: The file.
        subject: What messages call it.
        frame: Which of several frames of a DICOM file, counted from 1; None where there is one.
        as_dicom: Whether to read it as DICOM whatever its first bytes are.

    Raises:
        ImageError, MissingComponentError: As :func:`read_image`.
    """
    if as_dicom or is_dicom(content):
        from mahtrt.data.dicom import read_dicom_image

        shown = read_dicom_image(content, subject, frame)
        return ReadImage(shown.pixels, shown.facts)
    if frame is not None:
        raise ImageError(
            subject, got="a frame of a file that is no DICOM", expected="the file without a frame"
        )
    return ReadImage(_read_picture(content, subject))


def _read_picture(content: bytes, subject: str) -> NDArray[np.generic]:
    """Decode an image file that is no DICOM."""
    try:
        with open_picture(content, subject) as picture:
            image = _array_from_picture(picture, content, subject)
    except ImageError:
        raise
    # Decoders raise almost anything on damaged data: their errors have no common base.
    except Exception as error:
        reason = " ".join(str(error).split()) or "damaged"
        raise ImageError(
            subject,
            got=f"a file that cannot be decoded ({reason})",
            expected=EXPECTED,
            fix="Restore or remove the file.",
        ) from error
    check_image(image, subject)
    return image


def _array_from_picture(picture: Image.Image, content: bytes, subject: str) -> NDArray[np.generic]:
    turn = _turn(picture, subject)
    if turn is None and (stored := _stored_gray(picture, content)) is not None:
        return stored
    upright = picture if turn is None else picture.transpose(turn)
    width, height = upright.size
    rows = max(1, _STRIP_PX // width)
    if height <= rows:
        return _array_from_strip(upright, subject)
    first = _array_from_strip(upright.crop((0, 0, width, rows)), subject)
    image = np.empty((height, *first.shape[1:]), first.dtype)
    image[:rows] = first
    for top in range(rows, height, rows):
        end = min(top + rows, height)
        image[top:end] = _array_from_strip(upright.crop((0, top, width, end)), subject)
    return image


def _turn(picture: Image.Image, subject: str) -> Image.Transpose | None:
    """What makes a picture upright, None where it is."""
    if picture.format == "PNG":
        picture.load()  # its EXIF data may come last
    exif, start = picture.info.get("exif", b""), 0
    while exif.startswith(_EXIF, start):
        start += len(_EXIF)
    refuse_many_numbers(exif[start:], subject)
    return _UPRIGHT.get(picture.getexif().get(_TAG_ORIENTATION, 1))


def _stored_gray(picture: Image.Image, content: bytes) -> NDArray[np.generic] | None:
    """Pixels that lie in the file as they are wanted, copied from there; None for all others."""
    tiles: Any = getattr(picture, "tile", ())
    if picture.mode not in _STORED or len(tiles) != 1 or picture.has_transparency_data:
        return None
    codec, extents, offset, how = tiles[0]
    if codec != "raw" or extents != (0, 0, *picture.size):
        return None
    mode, stride, direction = (how, 0, 1) if isinstance(how, str) else how
    dtype: np.dtype[np.generic] = np.dtype(_STORED[picture.mode])
    width, height = picture.size
    least = width * dtype.itemsize
    stride = stride or least
    if mode != picture.mode or stride < least or not 0 <= offset <= len(content) - stride * height:
        return None
    rows: NDArray[np.generic] = np.ndarray(
        (height, width), dtype, content, offset, (stride, dtype.itemsize)
    )
    return np.ascontiguousarray(rows[::direction].astype(dtype.newbyteorder("=")))


def _array_from_strip(picture: Image.Image, subject: str) -> NDArray[np.generic]:
    """Some rows of a picture, in whatever mode it is."""
    if picture.mode in _GRAY_16:
        return np.array(picture).astype(np.uint16)  # also brings big-endian data into native order
    if picture.mode == "I":
        wide = np.array(picture)
        if wide.min() < 0 or wide.max() > 65535:
            raise _unusable(subject, f"32-bit values from {wide.min()} to {wide.max()}")
        return wide.astype(np.uint16)
    if picture.mode == "F":
        raise _unusable(subject, "floating point pixels")
    if picture.has_transparency_data:
        picture = _over_black(picture)
    elif picture.mode == "1":
        picture = picture.convert("L")
    return np.array(picture if picture.mode in ("L", "RGB") else picture.convert("RGB"))


def _over_black(picture: Image.Image) -> Image.Image:
    gray = picture.mode in ("L", "LA", "La", "1")
    front = picture.convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", front.size, (0, 0, 0, 255)), front)
    return flat.convert("RGB").getchannel("R") if gray else flat.convert("RGB")


def _unusable(subject: str, got: str) -> ImageError:
    return ImageError(
        subject,
        got=got,
        expected="8 or 16 bits per channel",
        fix="Scale to the full range of uint8 or uint16 and save again.",
    )
