"""DICOM to what a display would show: modality LUT, VOI window, polarity, and pixel spacing.

The first window (or VOI LUT) of the file is applied, MONOCHROME1 is inverted so that bone is
bright, and the result fills the range of uint8 (8 bits stored or fewer) or uint16. Without a
window, images of more than 8 bits are stretched from their lowest to their highest value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.dicom_file import open_dicom
from mahtrt.data.preprocess import check_image
from mahtrt.data.spacing import Spacing, is_spacing
from mahtrt.errors import ImageError, MissingComponentError, require

_NEEDED_FOR = "reading DICOM"
_NO_NUMBERS = "a rescaling or window that makes pixels infinite or no numbers"
_STRIP_PX = 2**20
_ValuesFrom = Callable[[NDArray[np.generic]], NDArray[np.float64]]


def read_dicom(content: bytes, subject: str) -> tuple[NDArray[np.generic], Spacing | None]:
    """The image of a DICOM file.

    Args:
        content: The file.
        subject: Its name, for messages.

    Returns:
        (H, W) gray or (H, W, 3) RGB, uint8 or uint16, and its (row, column) spacing in mm: Pixel
        Spacing, else Imager Pixel Spacing (at the detector, divided by the radiographic
        magnification where the file states it), else Nominal Scanned Pixel Spacing, else None.

    Raises:
        ImageError: Not DICOM, damaged, without pixels, too large, or with several frames.
        MissingComponentError: pydicom is not installed.
    """
    try:
        dataset = open_dicom(content, subject)
        stored = np.asarray(dataset.pixel_array)
        image = _colours(dataset, stored) if stored.ndim == 3 else _gray(dataset, stored)
        spacing = _spacing(dataset)
    except (ImageError, MissingComponentError):
        raise
    # pydicom raises almost anything on damaged data: its errors have no common base.
    except Exception as error:
        raise ImageError(
            subject,
            got=f"DICOM that cannot be read ({' '.join(str(error).split())})",
            expected="a DICOM file with one image",
            fix="Check the file; a compressed transfer syntax may need pylibjpeg installed.",
        ) from error
    check_image(image, subject)
    return image, spacing


def window_to_unit(
    values: NDArray[np.floating], center: float, width: float, function: str = "LINEAR"
) -> NDArray[np.float64]:
    """A VOI window (DICOM PS3.3 C.11.2.1.2) as numbers from 0 to 1.

    Args:
        values: Output of the modality LUT.
        center, width: Window Center and Window Width.
        function: LINEAR, LINEAR_EXACT or SIGMOID.
    """
    values = np.asarray(values, np.float64)
    if function == "SIGMOID":
        unit: NDArray[np.float64]
        unit = 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700)))
        return unit
    if function == "LINEAR":
        center, width = center - 0.5, width - 1
    if width <= 0:  # a window of width 1: a threshold
        return (values > center).astype(np.float64)
    return np.clip((values - center) / width + 0.5, 0, 1)


def _colours(dataset: Any, stored: NDArray[np.generic]) -> NDArray[np.generic]:
    # pixel_array is RGB already where the file holds YBR.
    top = 2.0 ** int(dataset.BitsStored) - 1
    return _by_strips(lambda strip: _full_range(strip.astype(np.float64) / top, dataset), stored)


def _gray(dataset: Any, stored: NDArray[np.generic]) -> NDArray[np.generic]:
    pixels = require("pydicom.pixels", extra="dicom", needed_for=_NEEDED_FOR)

    def values_from(strip: NDArray[np.generic]) -> NDArray[np.float64]:
        return np.asarray(pixels.apply_modality_lut(strip, dataset), np.float64)

    unit_from = _unit_from_values(dataset, stored, values_from)
    inverted = dataset.get("PhotometricInterpretation") == "MONOCHROME1"

    def shown(strip: NDArray[np.generic]) -> NDArray[np.generic]:
        unit = unit_from(values_from(strip))
        return _full_range(1 - unit if inverted else unit, dataset)

    return _by_strips(shown, stored)


def _unit_from_values(
    dataset: Any, stored: NDArray[np.generic], values_from: _ValuesFrom
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """What makes gray values numbers from 0 to 1: VOI LUT, window, or the image's own range."""
    if dataset.get("VOILUTSequence"):
        pixels = require("pydicom.pixels", extra="dicom", needed_for=_NEEDED_FOR)
        top = 2.0 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1

        def looked_up(values: NDArray[np.float64]) -> NDArray[np.float64]:
            # The table is indexed by whole numbers.
            table = pixels.apply_voi(np.rint(values).astype(np.int32), dataset, index=0)
            return np.asarray(table, np.float64) / top

        return looked_up
    center, width = _first(dataset.get("WindowCenter")), _first(dataset.get("WindowWidth"))
    if center is not None and width is not None and width > 0:
        function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
        return lambda values: window_to_unit(values, center, width, function)
    if int(dataset.BitsStored) <= 8 and stored.dtype == np.uint8 and not _rescaled(dataset):
        top = 2.0 ** int(dataset.BitsStored) - 1
        return lambda values: values / top
    ranges = [(v.min(), v.max()) for v in map(values_from, _strips(stored))]
    low, high = float(min(r[0] for r in ranges)), float(max(r[1] for r in ranges))
    if not math.isfinite(high - low):
        raise ValueError(_NO_NUMBERS)
    if high > low:
        return lambda values: (values - low) / (high - low)
    return np.zeros_like


def _strips(stored: NDArray[np.generic]) -> list[NDArray[np.generic]]:
    """The image in pieces of some rows, so that large ones need no large numbers of 64 bits."""
    rows = max(1, _STRIP_PX // stored.shape[1])
    return [stored[top : top + rows] for top in range(0, len(stored), rows)]


def _by_strips(
    function: Callable[[NDArray[np.generic]], NDArray[np.generic]], stored: NDArray[np.generic]
) -> NDArray[np.generic]:
    return np.concatenate([function(strip) for strip in _strips(stored)])


def _rescaled(dataset: Any) -> bool:
    identity = (dataset.get("RescaleSlope") or 1, dataset.get("RescaleIntercept") or 0) == (1, 0)
    return bool(dataset.get("ModalityLUTSequence")) or not identity


def _full_range(unit: NDArray[np.float64], dataset: Any) -> NDArray[np.generic]:
    if not np.isfinite(unit).all():
        raise ValueError(_NO_NUMBERS)
    dtype, top = (np.uint8, 255) if int(dataset.BitsStored) <= 8 else (np.uint16, 65535)
    return np.rint(np.clip(unit, 0, 1) * top).astype(dtype)


def _spacing(dataset: Any) -> Spacing | None:
    for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        value = dataset.get(name)
        if value is None or len(value) != 2 or not all(is_spacing(float(v)) for v in value):
            continue
        magnification = float(dataset.get("EstimatedRadiographicMagnificationFactor") or 1)
        factor = magnification if name == "ImagerPixelSpacing" and magnification > 0 else 1.0
        pair = float(value[0]) / factor, float(value[1]) / factor
        return pair if all(map(is_spacing, pair)) else None
    return None


def _first(value: Any) -> float | None:
    """The first of one or several numbers, None where there is none."""
    if value is None or value == "":
        return None
    return float(value) if isinstance(value, (int, float)) else float(value[0])
