"""What a DICOM file says about its image beside the pixels: frame, spacing, orientation.

Nothing here is free text: every value is one of a closed set or a number, so that no name,
identifier or date that a file carries in the wrong place gets into a result.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from mahtrt.data.dicom_remarks import remarks_of
from mahtrt.data.dicom_spacing import PROJECTION, TOMOGRAPHY, SpacingChoice, choose_spacing

_MODALITIES = PROJECTION | TOMOGRAPHY | {"BI", "ECG", "ES", "OP", "OT", "PX", "SC", "US", "XC"}
_DIRECTION = re.compile(r"(?!.*(.).*\1)[ALRPHF]{1,3}")  # PS3.3 C.7.6.1.1.1, for bipeds
_ROTATIONS = frozenset({0, 90, 180, 270})


@dataclass(frozen=True, slots=True)
class Orientation:
    """How the stored pixels lie; mahtrt turns and flips nothing of it.

    Attributes:
        patient: Directions of the rows and of the columns, such as ``("L", "F")`` (Patient
            Orientation, PS3.3 C.7.6.1.1.1); empty where the file tells none.
        plane: Six direction cosines (Image Orientation (Patient), PS3.3 C.7.6.2.1.1); empty
            likewise.
        rotation_deg: Clockwise rotation that was applied to the pixels, relative to the detector
            (Field of View Rotation, PS3.3 C.8.11.4); None likewise.
        flipped: Whether the pixels were then flipped left to right (Field of View Horizontal
            Flip); None likewise.
    """

    patient: tuple[str, ...] = ()
    plane: tuple[float, ...] = ()
    rotation_deg: int | None = None
    flipped: bool | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know."""
        turned = f"rotated by {self.rotation_deg} degrees" if self.rotation_deg else ""
        flipped = "flipped left to right" if self.flipped else ""
        done = " and ".join(part for part in (turned, flipped) if part)
        if not done:
            return ()
        return (f"the stored pixels were {done} after the exposure; landmarks are in the stored "
                "pixels",)  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; what the file does not tell is left out."""
        told = {
            "patient": list(self.patient),
            "plane": list(self.plane),
            "rotation_deg": self.rotation_deg,
            "flipped": self.flipped,
        }
        return {name: value for name, value in told.items() if value not in (None, [])}


@dataclass(frozen=True, slots=True)
class DicomFacts:
    """What is known of a DICOM image beside its pixels.

    Attributes:
        modality: A Modality of the standard, such as ``DX``; "" for any other.
        frame: Which frame it is, counted from 1.
        frames: How many the file has.
        remarks: What of the header needs care (:mod:`mahtrt.data.dicom_remarks`).
    """

    modality: str = ""
    frame: int = 1
    frames: int = 1
    spacing: SpacingChoice = field(default_factory=SpacingChoice)
    orientation: Orientation = field(default_factory=Orientation)
    remarks: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know."""
        return (*self.spacing.notes, *self.other_notes)

    @property
    def other_notes(self) -> tuple[str, ...]:
        """What the user should know of all but the spacing."""
        return (*self.orientation.notes, *self.remarks)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        frame = {"frame": self.frame, "frames": self.frames} if self.frames > 1 else {}
        modality = {"modality": self.modality} if self.modality else {}
        spacing = {"spacing": self.spacing.source or None, "spacing_plane": self.spacing.plane}
        orientation = {"orientation": told} if (told := self.orientation.to_dict()) else {}
        notes = {"notes": list(self.notes)} if self.notes else {}
        return {**modality, **frame, **spacing, **orientation, **notes}


def facts_from_dataset(dataset: Any, frame: int, frames: int) -> DicomFacts:
    """The facts of one frame, whose functional groups are already attributes of the data set.

    Args:
        frame: Counted from 1.
    """
    modality = str(dataset.get("Modality") or "")
    spacing = choose_spacing(dataset)
    return DicomFacts(
        modality=modality if modality in _MODALITIES else "",
        frame=frame,
        frames=frames,
        spacing=spacing,
        orientation=_orientation(dataset),
        remarks=remarks_of(dataset, spacing.spacing_mm),
    )


def _orientation(dataset: Any) -> Orientation:
    flip = str(dataset.get("FieldOfViewHorizontalFlip") or "")
    rotation = _numbers(dataset.get("FieldOfViewRotation"))
    known = len(rotation) == 1 and rotation[0] in _ROTATIONS
    plane = _numbers(dataset.get("ImageOrientationPatient"))
    cosines = len(plane) == 6 and all(abs(value) <= 1.0001 for value in plane)
    directions = dataset.get("PatientOrientation") or ()
    patient = () if isinstance(directions, str) else tuple(map(str, directions))
    lettered = len(patient) == 2 and all(map(_DIRECTION.fullmatch, patient))
    return Orientation(
        patient=patient if lettered else (),
        plane=plane if cosines else (),
        rotation_deg=int(rotation[0]) if known else None,
        flipped={"YES": True, "NO": False}.get(flip),
    )


def _numbers(value: Any) -> tuple[float, ...]:
    """The numbers of an attribute; none where it has anything else."""
    if value is None or value == "":
        return ()
    several = value if hasattr(value, "__len__") and not isinstance(value, str) else (value,)
    try:
        return tuple(float(each) for each in several)
    except (TypeError, ValueError):
        return ()
