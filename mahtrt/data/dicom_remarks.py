"""What of a DICOM header looks wrong or needs care, though the image can be read."""

from __future__ import annotations

from typing import Any

from mahtrt.data.alike import ALL_ALIKE
from mahtrt.data.dicom_damage import DicomDamageError
from mahtrt.errors import require

_NUMBERS = (
    *("NumberOfFrames", "Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored"),
    *("HighBit", "RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth"),
)
_NEEDED = ("Rows", "Columns", "BitsAllocated", "BitsStored")
_COARSEST_MM, _FINEST_MM = 20.0, 0.0001  # nuclear medicine has 10 mm, microscopes 0.00025


def check_numbers(dataset: Any) -> None:
    """Refuse attributes that the pixels rest on, and that are no numbers.

    Raises:
        DicomDamageError: It names the attribute.
    """
    for keyword in _NUMBERS:
        try:
            _numbers(dataset.get(keyword))
        # pydicom raises almost anything on values that are none.
        except Exception:
            words = require("pydicom.datadict", extra="dicom", needed_for="reading DICOM")
            name = words.dictionary_description(keyword)
            raise DicomDamageError(f"{name} is no number") from None


def check_needed(dataset: Any) -> None:
    """Refuse pixels without their size, or with several of them.

    Raises:
        DicomDamageError: It names the attribute.
    """
    for keyword in _NEEDED:
        if len(_numbers(dataset.get(keyword))) != 1:
            words = require("pydicom.datadict", extra="dicom", needed_for="reading DICOM")
            raise DicomDamageError(f"no {words.dictionary_description(keyword)}, or several")


def remarks_of(dataset: Any, spacing_mm: tuple[float, float] | None) -> tuple[str, ...]:
    """What the user should know of a header; nothing of it is quoted but numbers.

    Args:
        dataset: A data set whose functional groups are already its own attributes.
        spacing_mm: The spacing that was chosen.
    """
    burned = str(dataset.get("BurnedInAnnotation") or "") == "YES"
    inverse = str(dataset.get("PresentationLUTShape") or "") == "INVERSE"
    bright = str(dataset.get("PhotometricInterpretation") or "") == "MONOCHROME2"
    widths, slopes = (_numbers(dataset.get(name)) for name in ("WindowWidth", "RescaleSlope"))
    odd = spacing_mm and not _FINEST_MM <= min(spacing_mm) <= max(spacing_mm) <= _COARSEST_MM
    remarks = {
        "text is burned into the pixels, as Burned In Annotation says: it may name the patient, "
        "also in pictures (--overlay) and in golden images of bundles": burned,
        f"a pixel of {spacing_mm[0]:g} x {spacing_mm[1]:g} mm is not likely: check the pixel "
        "spacing" if spacing_mm else "": odd,
        "the window is ignored: Window Width is not above 0": widths and widths[0] <= 0,
        f"{ALL_ALIKE}: Rescale Slope is 0": slopes and slopes[0] == 0,
        "Presentation LUT Shape INVERSE is ignored: it belongs to MONOCHROME1, and the file has "
        "MONOCHROME2": inverse and bright,
    }  # fmt: skip
    return tuple(text for text, told in remarks.items() if told)


def _numbers(value: Any) -> tuple[float, ...]:
    """One or several numbers; none where there is nothing."""
    if value is None or value == "":
        return ()
    several = hasattr(value, "__len__") and not isinstance(value, (str, bytes))
    return tuple(float(each) for each in (value if several else (value,)))
