"""DICOM to what a display would show: modality LUT, VOI window, polarity, and pixel spacing.

The first window (or VOI LUT) of the file is applied, MONOCHROME1 is inverted so that bone is
bright, and the result fills the range of uint8 (8 bits stored or fewer) or uint16. Without a
window, images of more than 8 bits are stretched from their lowest to their highest value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.alike import ALL_ALIKE, is_alike
from mahtrt.data.dicom_damage import DicomDamageError, reading_dicom
from mahtrt.data.dicom_decoding import stored_values
from mahtrt.data.dicom_facts import DicomFacts, facts_from_dataset
from mahtrt.data.dicom_file import open_dicom
from mahtrt.data.preprocess import check_image
from mahtrt.data.spacing import Spacing
from mahtrt.errors import require

_NEEDED_FOR = "reading DICOM"
_NO_NUMBERS = "a rescaling or window that makes pixels infinite or no numbers"
_STRIP_PX = 2**20
_ValuesFrom = Callable[[NDArray[np.generic]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True, eq=False)
class DicomImage:
    """A frame of a DICOM file.

    Attributes:
        pixels: (H, W) gray or (H, W, 3) RGB, uint8 or uint16, as a display would show them.
        facts: Which frame it is, its spacing and where that comes from, its orientation.
    """

    pixels: NDArray[np.generic]
    facts: DicomFacts

    @property
    def spacing_mm(self) -> Spacing | None:
        """(row, column) in mm, None where the file tells none."""
        return self.facts.spacing.spacing_mm


def read_dicom(
    content: bytes, subject: str, frame: int | None = None
) -> tuple[NDArray[np.generic], Spacing | None]:
    """The image of a DICOM file.

    Args:
        content: The file.
        subject: Its name, for messages.
        frame: Which of several frames, counted from 1.

    Returns:
        The pixels and the spacing that :func:`read_dicom_image` gives.

    Raises:
        ImageError, MissingComponentError: As :func:`read_dicom_image`.
    """
    found = read_dicom_image(content, subject, frame)
    return found.pixels, found.spacing_mm


def read_dicom_image(content: bytes, subject: str, frame: int | None = None) -> DicomImage:
    """The image of a DICOM file, and what the file says about it.

    Messages quote nothing of the file's header.

    Args:
        content: The file.
        subject: Its name, for messages.
        frame: Which of several frames, counted from 1; None where there is one.

    Raises:
        ImageError: Not DICOM, damaged, without pixels, too large, in a transfer syntax that is not
            read, or with several frames of which none is named.
        MissingComponentError: pydicom, or the decoder of the transfer syntax, is not installed.
    """
    with reading_dicom(subject, "header"):
        opened = open_dicom(content, subject, frame)
        facts = facts_from_dataset(opened.dataset, opened.frame, opened.frames)
    with reading_dicom(subject, "pixel data"):
        stored = stored_values(opened)
        shown = _colours if stored.ndim == 3 else _gray
        image = shown(opened.dataset, stored)
    check_image(image, subject)
    return DicomImage(image, _with_remark(facts, image, stored))


def _with_remark(
    facts: DicomFacts, image: NDArray[np.generic], stored: NDArray[np.generic]
) -> DicomFacts:
    """The facts of an image; where all of it is alike, with a remark that says so."""
    told = any(remark.startswith(ALL_ALIKE) for remark in facts.remarks)
    if told or not is_alike(image):
        return facts
    why = ": the rescaling, the window or the table of the file makes them so"
    remark = ALL_ALIKE if is_alike(stored) else ALL_ALIKE + why
    return replace(facts, remarks=(*facts.remarks, remark))


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
        raise DicomDamageError(_NO_NUMBERS)
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
        raise DicomDamageError(_NO_NUMBERS)
    dtype, top = (np.uint8, 255) if int(dataset.BitsStored) <= 8 else (np.uint16, 65535)
    return np.rint(np.clip(unit, 0, 1) * top).astype(dtype)


def _first(value: Any) -> float | None:
    """The first of one or several numbers, None where there is none."""
    if value is None or value == "":
        return None
    return float(value) if isinstance(value, (int, float)) else float(value[0])
