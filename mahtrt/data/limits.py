"""How large an image may be, and how much of a file is read: the same for files and for arrays.

The numbers leave room above the largest radiographs in use (a long leg of 4,000 x 12,000 pixels of
16 bits), and keep the memory of reading any one file below 2 GiB.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

from mahtrt.errors import ImageError

MOST_PIXELS = 2**26  # 67 million, in one image; also what a resize on the way may make
MOST_SIDE_PX = 32_767
MOST_IMAGE_BYTES = 17 * 2**24  # of a file, or what a deflated DICOM file holds: four a pixel
MOST_TEXT_BYTES = 2**25  # of a CSV: parsed, it grows thirtyfold
MOST_CELLS = 5_000_000  # in one CSV
MOST_IMAGES = 1_000_000  # in one data set


_most_pixels: ContextVar[int] = ContextVar("most_pixels", default=MOST_PIXELS)


@contextlib.contextmanager
def at_most_pixels(most: int) -> Iterator[None]:
    """Let the block, in this thread, read images of fewer pixels than mahtrt could."""
    token = _most_pixels.set(min(most, MOST_PIXELS))
    try:
        yield
    finally:
        _most_pixels.reset(token)


def check_image_size(width: int, height: int, subject: str) -> None:
    """Refuse an image of more pixels than are ever decoded, resized or run.

    Raises:
        ImageError: Too many pixels, or too long a side.
    """
    most = _most_pixels.get()
    if width * height > most or max(width, height) > MOST_SIDE_PX:
        raise ImageError(
            subject,
            got=f"{width}x{height} pixels",
            expected=f"at most {most} pixels, and {MOST_SIDE_PX} on a side",
            fix="Make the image smaller first.",
            reason="too-large",
        )
