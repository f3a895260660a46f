"""Image files to arrays: one reader for everything that is not geometry.

What comes out is what :func:`mahtrt.data.preprocess.preprocess` takes: (H, W) gray or (H, W, 3)
RGB, uint8 or uint16. Alpha is composited over black, CMYK and palettes become RGB, a rotation in
the EXIF data is applied, of several frames (TIFF) the first is taken. Gray of 16 bits keeps them;
colours of 16 bits are reduced to 8 by the decoder.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from mahtrt.data.preprocess import check_image
from mahtrt.errors import ImageError

DICOM_SUFFIXES = frozenset({".dcm", ".dicom"})
IMAGE_SUFFIXES = DICOM_SUFFIXES | frozenset(
    {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)

_GRAY_16 = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
# What decoders of damaged files raise; Pillow passes some of them through as they come.
_DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)


def read_image_and_spacing(
    path: Path,
) -> tuple[NDArray[np.generic], tuple[float, float] | None]:
    """Read an image file, DICOM included.

    Returns:
        (H, W) gray or (H, W, 3) RGB, uint8 or uint16, C-contiguous; and the (row, column) spacing
        in mm where the file states it.

    Raises:
        ImageError: Not there, not an image, damaged, or unusable (float, 1x1, several frames).
        MissingComponentError: A DICOM file, and pydicom is not installed.
    """
    path = Path(path)
    if _is_dicom(path):
        from mahtrt.data.dicom import read_dicom

        return read_dicom(path)
    try:
        with Image.open(path) as picture:
            image = _array_from_picture(picture, path)
    except _DECODE_ERRORS as error:
        raise ImageError(
            str(path),
            got=f"a file that cannot be decoded ({' '.join(str(error).split())})",
            expected="an image (PNG, JPEG, BMP, TIFF, WebP, PGM or DICOM)",
            fix="Restore or remove the file.",
        ) from error
    check_image(image, str(path))
    return image, None


def _is_dicom(path: Path) -> bool:
    """By suffix, or by the magic word that follows the 128-byte preamble."""
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except OSError as error:
        raise ImageError(
            str(path),
            got=error.strerror or str(error),
            expected="an image file",
            fix="Check the path.",
        ) from error
    return path.suffix.lower() in DICOM_SUFFIXES or head[128:] == b"DICM"


def _array_from_picture(picture: Image.Image, path: Path) -> NDArray[np.generic]:
    upright = ImageOps.exif_transpose(picture)
    if upright.mode in _GRAY_16:
        return np.array(upright).astype(np.uint16)  # also brings big-endian data into native order
    if upright.mode == "I":
        wide = np.array(upright)
        if wide.min() < 0 or wide.max() > 65535:
            raise _unusable(path, f"32-bit values from {wide.min()} to {wide.max()}")
        return wide.astype(np.uint16)
    if upright.mode == "F":
        raise _unusable(path, "floating point pixels")
    if upright.has_transparency_data:
        upright = _over_black(upright)
    elif upright.mode == "1":
        upright = upright.convert("L")
    return np.array(upright if upright.mode in ("L", "RGB") else upright.convert("RGB"))


def _over_black(picture: Image.Image) -> Image.Image:
    gray = picture.mode in ("L", "LA", "La", "1")
    front = picture.convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", front.size, (0, 0, 0, 255)), front)
    return flat.convert("RGB").getchannel("R") if gray else flat.convert("RGB")


def _unusable(path: Path, got: str) -> ImageError:
    return ImageError(
        str(path),
        got=got,
        expected="8 or 16 bits per channel",
        fix="Scale to the full range of uint8 or uint16 and save again.",
    )
