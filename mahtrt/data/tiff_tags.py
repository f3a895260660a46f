"""The tags of a TIFF, or of EXIF data: how many numbers they hold, before Pillow reads them.

Pillow makes an object of Python of every number of a tag, forty bytes for one of two.
"""

from __future__ import annotations

import struct

from mahtrt.errors import ImageError

MOST_NUMBERS = 2**20  # in all tags: strips and tiles of the largest images need half of it
_BYTES_AND_TEXT = frozenset((1, 2, 6, 7))  # types that stay bytes


def refuse_many_numbers(tiff: bytes, subject: str) -> None:
    """Refuse a TIFF whose first directory holds more numbers than any image needs.

    Args:
        tiff: From its byte order on. What is no TIFF passes: reading it says so. What ends before
            its directory passes as well: Pillow finds no tags there either.
        subject: The file, for messages.

    Raises:
        ImageError: Too many numbers.
    """
    order = "<" if tiff.startswith(b"II") else ">"
    big = tiff[2:3] == b"\x2b"  # as Pillow decides: it takes a BigTIFF of the order MM for a TIFF
    count_form, entry_form, place = ("Q", "HHQ8x", 8) if big else ("H", "HHL4x", 4)
    try:
        (start,) = struct.unpack_from(order + ("Q" if big else "L"), tiff, place)
        (entries,) = struct.unpack_from(order + count_form, tiff, start)
    except struct.error:
        return
    first, size = start + struct.calcsize(order + count_form), struct.calcsize(order + entry_form)
    numbers = 0
    for entry in range(min(entries, (len(tiff) - first) // size)):
        _, kind, count = struct.unpack_from(order + entry_form, tiff, first + entry * size)
        numbers += 0 if kind in _BYTES_AND_TEXT else count
    if numbers > MOST_NUMBERS:
        raise ImageError(
            subject,
            got=f"tags of {numbers} numbers",
            expected=f"at most {MOST_NUMBERS}",
            fix="Save the image again without its metadata.",
        )
