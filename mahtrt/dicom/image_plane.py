"""Where pixels of an image lie in millimetres: DICOM's image plane, or the image's own axes.

DICOM has the position of the first pixel's centre and the directions of rows and columns (PS3.3,
C.7.6.2.1.1), in the patient's frame: x to the left, y to the back, z to the head (LPS).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.spacing import Spacing, is_spacing

Floats = NDArray[np.float64]
_UNIT, _RIGHT_ANGLE = 1e-3, 1e-3  # how far stored direction cosines may be off


@dataclass(frozen=True, slots=True)
class ImagePlane:
    """A plane of pixels in millimetres, LPS.

    Attributes:
        origin_mm: (3,) centre of the first pixel.
        along_row_mm: (3,) the step from one column to the next.
        along_column_mm: (3,) the step from one row to the next.
        is_placed: Whether the image says where it lies in the patient; else its first pixel is at
            the origin, x is along its rows and y along its columns.
        has_spacing: Whether steps are millimetres; else a pixel counts as 1 mm.
    """

    origin_mm: Floats
    along_row_mm: Floats
    along_column_mm: Floats
    is_placed: bool
    has_spacing: bool

    def points_mm(self, points_px: NDArray[np.floating]) -> Floats:
        """Points in millimetres, (K, 3), of points (K, 2) in pixels, pixel centres at integers."""
        points = np.asarray(points_px, np.float64)
        steps = points[:, :1] * self.along_row_mm + points[:, 1:] * self.along_column_mm
        placed: Floats = self.origin_mm + steps
        return placed


def plane_of_image(header: Any, frame: int | None, spacing_mm: Spacing | None) -> ImagePlane:
    """The plane of an image.

    Args:
        header: Its DICOM header; None of an image that is no DICOM.
        frame: Its frame, from 1; None of an image with one.
        spacing_mm: (row, column), for an image that does not say where it lies.
    """
    placed = _placed(header, frame) if header is not None else None
    if placed is not None:
        return placed
    row, column = spacing_mm or (1.0, 1.0)
    return ImagePlane(
        np.zeros(3),
        np.array([column, 0.0, 0.0]),
        np.array([0.0, row, 0.0]),
        is_placed=False,
        has_spacing=spacing_mm is not None,
    )


def _placed(header: Any, frame: int | None) -> ImagePlane | None:
    """The plane that the header gives; None where it gives none, or one that cannot be."""
    try:
        position = _floats(_find(header, frame, "PlanePositionSequence", "ImagePositionPatient"))
        directions = _floats(
            _find(header, frame, "PlaneOrientationSequence", "ImageOrientationPatient")
        )
        spacing = _floats(_find(header, frame, "PixelMeasuresSequence", "PixelSpacing"))
    except (TypeError, ValueError):  # numbers that are none
        return None
    if len(position) != 3 or len(directions) != 6 or len(spacing) != 2:
        return None
    row, column = directions[:3], directions[3:]
    lengths = np.abs(np.linalg.norm([row, column], axis=1) - 1)
    if not (lengths < _UNIT).all() or not abs(row @ column) < _RIGHT_ANGLE:
        return None
    if not np.isfinite(position).all() or not all(map(is_spacing, spacing.tolist())):
        return None
    # The first value of Pixel Spacing is between rows, the second between columns (PS3.3, 10.7.1.3)
    return ImagePlane(position, row * spacing[1], column * spacing[0], True, True)


def _find(header: Any, frame: int | None, macro: str, keyword: str) -> Any:
    """An attribute of the image, or of the frame's functional group (PS3.3, C.7.6.16)."""
    groups = [header]
    if frame is not None:
        each = header.get("PerFrameFunctionalGroupsSequence") or ()
        shared = header.get("SharedFunctionalGroupsSequence") or ()
        groups += [*each[frame - 1 : frame], *shared[:1]]
    for group in groups:
        if keyword in group:
            return group.get(keyword)
        items = group.get(macro)
        if items and keyword in items[0]:
            return items[0].get(keyword)
    return None


def _floats(values: Any) -> Floats:
    return np.array([] if values is None else [float(each) for each in values], np.float64)
