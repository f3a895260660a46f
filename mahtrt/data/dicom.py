"""DICOM to what a display would show: modality LUT, VOI window, polarity, and pixel spacing.

The first window (or VOI LUT) of the file is applied, MONOCHROME1 is inverted so that bone is
bright, and the result fills the range of uint8 (8 bits stored or fewer) or uint16. Without a
window, images of more than 8 bits are stretched from their lowest to their highest value.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.preprocess import check_image
from mahtrt.errors import ImageError, require

_NEEDED_FOR = "reading DICOM"


def read_dicom(path: Path) -> tuple[NDArray[np.generic], tuple[float, float] | None]:
    """Read one DICOM image.

    Returns:
        (H, W) gray or (H, W, 3) RGB, uint8 or uint16, and its (row, column) spacing in mm: Pixel
        Spacing, else Imager Pixel Spacing (at the detector, divided by the radiographic
        magnification where the file states it), else Nominal Scanned Pixel Spacing, else None.

    Raises:
        ImageError: Not DICOM, damaged, without pixels, or with several frames.
        MissingComponentError: pydicom is not installed.
    """
    pydicom = require("pydicom", extra="dicom", needed_for=_NEEDED_FOR)
    try:
        dataset = pydicom.dcmread(path)
        _refuse_frames(dataset, path)
        stored = np.asarray(dataset.pixel_array)
        image = _colours(dataset, stored) if stored.ndim == 3 else _gray(dataset, stored)
        spacing = _spacing(dataset)
    except ImageError:
        raise
    # pydicom raises almost anything on damaged data: its errors have no common base.
    except Exception as error:
        raise ImageError(
            str(path),
            got=f"DICOM that cannot be read ({' '.join(str(error).split())})",
            expected="a DICOM file with one image",
            fix="Check the file; a compressed transfer syntax may need pylibjpeg installed.",
        ) from error
    check_image(image, str(path))
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


def _refuse_frames(dataset: Any, path: Path) -> None:
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise ImageError(
            str(path),
            got=f"{frames} frames",
            expected="one image per file",
            fix="Save the frame you want as a file of its own.",
        )
    if "PixelData" not in dataset:
        raise ImageError(str(path), got="no pixel data", expected="a DICOM file with one image")
    if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        raise ImageError(
            str(path), got="a palette of colours", expected="MONOCHROME1, MONOCHROME2 or RGB"
        )


def _colours(dataset: Any, stored: NDArray[np.generic]) -> NDArray[np.generic]:
    # pixel_array is RGB already where the file holds YBR.
    return _full_range(stored.astype(np.float64) / (2.0 ** int(dataset.BitsStored) - 1), dataset)


def _gray(dataset: Any, stored: NDArray[np.generic]) -> NDArray[np.generic]:
    pixels = require("pydicom.pixels", extra="dicom", needed_for=_NEEDED_FOR)
    values = np.asarray(pixels.apply_modality_lut(stored, dataset), np.float64)
    unit = _unit_from_values(dataset, values, stored)
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        unit = 1 - unit
    return _full_range(unit, dataset)


def _unit_from_values(
    dataset: Any, values: NDArray[np.float64], stored: NDArray[np.generic]
) -> NDArray[np.float64]:
    """Gray values from 0 to 1, by VOI LUT, window, or the image's own range."""
    if dataset.get("VOILUTSequence"):
        pixels = require("pydicom.pixels", extra="dicom", needed_for=_NEEDED_FOR)
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        # The table is indexed by whole numbers.
        table = pixels.apply_voi(np.rint(values).astype(np.int32), dataset, index=0)
        return np.asarray(table, np.float64) / (2.0**bits - 1)
    center, width = _first(dataset.get("WindowCenter")), _first(dataset.get("WindowWidth"))
    if center is not None and width is not None and width > 0:
        function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
        return window_to_unit(values, center, width, function)
    if int(dataset.BitsStored) <= 8 and stored.dtype == np.uint8 and not _rescaled(dataset):
        return values / (2.0 ** int(dataset.BitsStored) - 1)
    low, high = float(values.min()), float(values.max())
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def _rescaled(dataset: Any) -> bool:
    identity = (dataset.get("RescaleSlope") or 1, dataset.get("RescaleIntercept") or 0) == (1, 0)
    return bool(dataset.get("ModalityLUTSequence")) or not identity


def _full_range(unit: NDArray[np.float64], dataset: Any) -> NDArray[np.generic]:
    dtype, top = (np.uint8, 255) if int(dataset.BitsStored) <= 8 else (np.uint16, 65535)
    return np.rint(np.clip(unit, 0, 1) * top).astype(dtype)


def _spacing(dataset: Any) -> tuple[float, float] | None:
    for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        value = dataset.get(name)
        if value is None or len(value) != 2 or min(map(float, value)) <= 0:
            continue
        magnification = float(dataset.get("EstimatedRadiographicMagnificationFactor") or 1)
        factor = magnification if name == "ImagerPixelSpacing" and magnification > 0 else 1.0
        return float(value[0]) / factor, float(value[1]) / factor
    return None


def _first(value: Any) -> float | None:
    """The first of one or several numbers, None where there is none."""
    if value is None or value == "":
        return None
    return float(value) if isinstance(value, (int, float)) else float(value[0])
