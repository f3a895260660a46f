"""Other grey levels before anything is resized: polarity, windows, bits; and turned images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from mahtrt.runtime.expectation.causes.cause import Cause
from mahtrt.runtime.expectation.pipeline import Image

_WIDE = 256  # values of 8 bits


def _top(image: Image) -> int:
    return int(np.iinfo(image.dtype).max)


def _inverted(image: Image) -> Image:
    return (_top(image) - image).astype(image.dtype)


def _windowed(image: Image, low: float, high: float) -> Image:
    """Intensities between two levels, stretched to the whole range."""
    scale = _top(image) / max(high - low, 1.0)
    return np.rint(np.clip((image.astype(np.float64) - low) * scale, 0, _top(image))).astype(
        image.dtype
    )


def _stretched(image: Image) -> Image:
    return _windowed(image, float(image.min()), float(image.max()))


def _by_highest(image: Image) -> Image:
    return _windowed(image, 0.0, float(image.max()))


def _percentiles(image: Image) -> Image:
    low, high = np.percentile(image, (1, 99))
    return _windowed(image, float(low), float(high))


def _equalised(image: Image) -> Image:
    if image.dtype != np.uint8:
        return image
    planes = [image] if image.ndim == 2 else list(np.moveaxis(image, 2, 0))
    equal = [cv2.equalizeHist(np.ascontiguousarray(plane)) for plane in planes]
    return np.asarray(equal[0] if image.ndim == 2 else np.stack(equal, 2))


def _high_byte(image: Image) -> Image:
    return (image // _WIDE).astype(np.uint8) if image.dtype == np.uint16 else image


def _low_byte(image: Image) -> Image:
    return (image % _WIDE).astype(np.uint8) if image.dtype == np.uint16 else image


def _cut_at_255(image: Image) -> Image:
    return np.minimum(image, _WIDE - 1).astype(np.uint8) if image.dtype == np.uint16 else image


def _twelve_bits(image: Image) -> Image:
    if image.dtype != np.uint16:
        return image
    return np.minimum(image.astype(np.uint32) * 16, _top(image)).astype(np.uint16)


def _turned(quarters: int) -> Callable[[Image], Image]:
    def turned(image: Image) -> Image:
        return np.ascontiguousarray(np.rot90(image, quarters))

    return turned


def _mirrored(image: Image) -> Image:
    return np.ascontiguousarray(image[:, ::-1])


def _cause(name: str, words: str, advice: str, before: Callable[[Image], Image]) -> Cause:
    return Cause(name, words, advice, lambda pipeline: replace(pipeline, before=before))


_IN_BOTH = "Do the same for the files that mahtrt reads, or leave it out in your pipeline."

LEVELS = (
    _cause(
        "inverted",
        "Your pipeline feeds the images inverted, black for white (MONOCHROME1 in DICOM).",
        "mahtrt shows MONOCHROME1 as a display does, bright where there is much; invert in your "
        "pipeline, or give mahtrt files that are inverted where the network was trained so.",
        _inverted,
    ),
    _cause(
        "window_of_each_image",
        "Your pipeline stretches the grey levels of each image from its lowest to its highest "
        "before it normalises.",
        _IN_BOTH,
        _stretched,
    ),
    _cause(
        "scaled_by_highest",
        "Your pipeline divides each image by its own highest value.",
        "Divide by the range of the image's type (255 or 65535) in your pipeline, or scale the "
        "files that mahtrt reads.",
        _by_highest,
    ),
    _cause(
        "window_of_percentiles",
        "Your pipeline clips each image at its 1st and 99th percentile and stretches the rest.",
        _IN_BOTH,
        _percentiles,
    ),
    _cause(
        "equalised",
        "Your pipeline equalises the histogram of each image.",
        _IN_BOTH,
        _equalised,
    ),
    _cause(
        "high_byte",
        "Your pipeline keeps the high byte of images of 16 bits; mahtrt keeps all bits.",
        "Keep 16 bits in your pipeline, or give mahtrt images of 8 bits.",
        _high_byte,
    ),
    _cause(
        "low_byte",
        "Your pipeline keeps the low byte of images of 16 bits (astype(uint8) without scaling).",
        "Divide by 257 before you convert to 8 bits in your pipeline.",
        _low_byte,
    ),
    _cause(
        "cut_at_255",
        "Your pipeline cuts images of 16 bits off at 255.",
        "Scale by 65535 in your pipeline.",
        _cut_at_255,
    ),
    _cause(
        "twelve_bits",
        "Your pipeline scales images of 16 bits by 4095, as of 12 bits; mahtrt scales by 65535.",
        "Store the files with their range stretched to 16 bits (times 16), or as DICOM, which "
        "says its bits.",
        _twelve_bits,
    ),
    _cause(
        "turned_left",
        "Your pipeline has the images turned by a quarter to the left of how mahtrt has them.",
        "mahtrt turns images as their EXIF data say; read them so in your pipeline "
        "(PIL.ImageOps.exif_transpose).",
        _turned(1),
    ),
    _cause(
        "turned_around",
        "Your pipeline has the images upside down, against how mahtrt has them.",
        "mahtrt turns images as their EXIF data say; read them so in your pipeline "
        "(PIL.ImageOps.exif_transpose).",
        _turned(2),
    ),
    _cause(
        "turned_right",
        "Your pipeline has the images turned by a quarter to the right of how mahtrt has them.",
        "mahtrt turns images as their EXIF data say; read them so in your pipeline "
        "(PIL.ImageOps.exif_transpose).",
        _turned(3),
    ),
    _cause(
        "mirrored_image",
        "Your pipeline mirrors the images, and gives points of the mirrored image.",
        "Mirror images and points back in your pipeline, or give mahtrt the mirrored files.",
        _mirrored,
    ),
)
