"""Functional groups of enhanced multi-frame files: what holds for one frame (PS3.3 C.7.6.16)."""

from __future__ import annotations

import io
from typing import Any

from mahtrt.data.dicom_damage import DicomDamageError
from mahtrt.errors import require

# Elements and items that are looked at; a file with one image has some hundred.
_MOST_READS = 200_000
# Sequence of a group to the attributes of it that count here.
_GROUPS = {
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth", "VOILUTFunction"),
    "PixelMeasuresSequence": ("PixelSpacing",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "ProjectionPixelCalibrationSequence": ("ObjectPixelSpacingInCenterOfBeam",),
}
SHARED, PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"


class CountedReads(io.BytesIO):
    """A file in memory that ends with an error when it is read in too many pieces."""

    _reads = 0
    _cut_off = False

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads > _MOST_READS:
            raise DicomDamageError(f"over {_MOST_READS} elements")
        found = super().read(size)
        self._cut_off |= size is not None and 0 < len(found) < size
        return found

    @property
    def cut_off(self) -> bool:
        """Whether it ended within what was read or passed over."""
        return self._cut_off or self.tell() > len(self.getbuffer())


def sequence_of(dataset: Any, keyword: str) -> list[Any]:
    """The items of a sequence, read within bounds; none where there is no such sequence.

    pydicom keeps a sequence as bytes until it is asked for, and then reads all of it.
    """
    raw_kind = require("pydicom.dataelem", extra="dicom", needed_for="reading DICOM").RawDataElement
    if keyword not in dataset:
        return []
    element = dataset.get_item(keyword)
    if isinstance(element, raw_kind):
        reader = require("pydicom.filereader", extra="dicom", needed_for="reading DICOM")
        content = element.value or b""
        items = reader.read_sequence(
            CountedReads(content),
            element.is_implicit_VR,
            element.is_little_endian,
            len(content),
            "iso8859",
        )
        setattr(dataset, keyword, items)
    return list(getattr(dataset, keyword) or ())


def apply_groups(dataset: Any, index: int) -> None:
    """Make what the functional groups say of a frame the data set's own attributes.

    Args:
        index: The frame, counted from 0.

    Raises:
        DicomDamageError: The file has groups, and none for this frame.
    """
    shared, frames = sequence_of(dataset, SHARED), sequence_of(dataset, PER_FRAME)
    if frames and index >= len(frames):
        raise DicomDamageError(f"functional groups of {len(frames)} frames, not of {index + 1}")
    for groups in (*shared[:1], *frames[index : index + 1]):
        for name, keywords in _GROUPS.items():
            for item in sequence_of(groups, name)[:1]:
                _take(dataset, item, keywords)


def _take(dataset: Any, item: Any, keywords: tuple[str, ...]) -> None:
    for keyword in keywords:
        if keyword in item:
            dataset[item[keyword].tag] = item[keyword]
