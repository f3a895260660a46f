"""Where a stored value lies within the bits that are allocated for it.

High Bit is one less than Bits Stored (PS3.5, section 8.1.1). Files of earlier editions may have it
higher, so that values begin above bits that are unused, or that hold overlays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.dicom_damage import DicomDamageError


def bits_below(dataset: Any) -> int:
    """How many bits of a word lie below its stored value; 0 in files of today.

    Args:
        dataset: That of uncompressed or run-length encoded pixels: words as they are.

    Raises:
        DicomDamageError: High Bit is where no stored value can end, or there are several samples
            per pixel, whose values nobody writes so.
    """
    high = _high_bit(dataset)
    below = high - int(dataset.BitsStored) + 1
    colours = int(dataset.get("SamplesPerPixel") or 1) > 1
    if below < 0 or high >= int(dataset.BitsAllocated) or (below and colours):
        raise DicomDamageError(_words(dataset))
    return below


def check_precision(dataset: Any, precision: int) -> None:
    """Refuse compressed samples of which High Bit says that they are not the stored values.

    Samples of a code stream are the values themselves, and what the code stream says of them
    counts (PS3.5, section 8.2.1): High Bit matters only where they have more bits than are stored.

    Args:
        precision: Bits of a sample, as the code stream says.

    Raises:
        DicomDamageError: It is one.
    """
    stored = int(dataset.BitsStored)
    if precision > stored and _high_bit(dataset) != stored - 1:
        raise DicomDamageError(f"{_words(dataset)}, and compressed samples of {precision}")


def values_within(words: NDArray[np.generic], dataset: Any, below: int) -> NDArray[np.generic]:
    """The stored values of words that hold them above some bits; signs are kept.

    Args:
        words: Integers, signed where the stored values are.
        below: As :func:`bits_below` counts.
    """
    unused = int(dataset.BitsAllocated) - int(dataset.BitsStored)
    kind = words.dtype.type
    shifted = np.left_shift(words, kind(unused - below))
    values: NDArray[np.generic] = np.right_shift(shifted, kind(unused))
    return values


def _high_bit(dataset: Any) -> int:
    given = dataset.get("HighBit")
    return int(dataset.BitsStored) - 1 if given in (None, "") else int(given)


def _words(dataset: Any) -> str:
    stored, allocated = int(dataset.BitsStored), int(dataset.BitsAllocated)
    return (
        f"High Bit {_high_bit(dataset)} with {stored} bits stored of {allocated} allocated; "
        f"expected {stored - 1}"
    )
