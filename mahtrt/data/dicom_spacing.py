"""Which of a DICOM file's pixel spacings counts, and what the choice rests on.

A projection radiograph is recorded at the detector, where everything is larger than in the
patient. Imager Pixel Spacing is the distance at the detector and is never adjusted; Pixel Spacing
is the distance in the patient where the image was calibrated, and repeats the distance at the
detector where it was not (PS3.3 10.7.1.1). In tomography, Pixel Spacing is the distance in the
patient (PS3.3 C.7.6.2.1.1). All pairs are row spacing, then column spacing (PS3.3 10.7.1.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from mahtrt.data.spacing import Spacing, is_spacing

Plane = Literal["patient", "detector", "unknown"]

PROJECTION = frozenset({"CR", "DR", "DX", "IO", "MG", "PX", "RF", "RG", "XA"})
TOMOGRAPHY = frozenset({"CT", "MR", "NM", "PT"})
SAME_WITHIN = 0.01  # of one another: numbers of 16 characters are rounded, magnification is more

_PATIENT, _BEAM = "PixelSpacing", "ObjectPixelSpacingInCenterOfBeam"
_DETECTOR, _SCANNED = "ImagerPixelSpacing", "NominalScannedPixelSpacing"
_FACTOR = "EstimatedRadiographicMagnificationFactor"
_WORDS = {
    _PATIENT: "Pixel Spacing",
    _BEAM: "Object Pixel Spacing in Center of Beam",
    _DETECTOR: "Imager Pixel Spacing",
    _SCANNED: "Nominal Scanned Pixel Spacing",
}
_TYPES = frozenset({"GEOMETRY", "FIDUCIAL"})  # PS3.3 10.7.1.2
_UNKNOWN_DEPTH = "lengths in the patient are smaller by a magnification that the file does not tell"


@dataclass(frozen=True, slots=True)
class SpacingChoice:
    """The spacing of an image, and where it comes from.

    Attributes:
        spacing_mm: (row, column) in mm; None where the file tells none.
        source: Keyword of the attribute, ``ImagerPixelSpacing / EstimatedRadiographic…`` where a
            magnification was divided out; "" without a spacing.
        plane: Where the spacing holds: in the patient, at the detector, or nobody says.
        notes: What the user should know about it.
    """

    spacing_mm: Spacing | None = None
    source: str = ""
    plane: Plane = "unknown"
    notes: tuple[str, ...] = ()


def choose_spacing(dataset: Any) -> SpacingChoice:
    """The spacing of one frame's data set, by the rules of its modality.

    Args:
        dataset: A data set whose functional groups are already its own attributes.
    """
    values = {name: dataset.get(name) for name in _WORDS}
    pairs = {name: pair for name, value in values.items() if (pair := _pair(value))}
    ignored = tuple(
        f"{_WORDS[name]} is ignored: it is no pair of positive numbers"
        for name, value in values.items()
        if value and name not in pairs
    )
    if not pairs:
        return SpacingChoice(notes=(*ignored, "no pixel spacing: nothing is measured in mm"))
    modality = str(dataset.get("Modality") or "")
    projected = modality in PROJECTION or (modality not in TOMOGRAPHY and _DETECTOR in pairs)
    chosen = _of_projection(dataset, pairs) if projected else _of_other(modality, pairs)
    told = _disagreement(pairs, chosen)
    return SpacingChoice(
        chosen.spacing_mm, chosen.source, chosen.plane, (*ignored, *told, *chosen.notes)
    )


def _of_projection(dataset: Any, pairs: dict[str, Spacing]) -> SpacingChoice:
    flat = next((name for name in (_DETECTOR, _SCANNED) if name in pairs), None)
    if _PATIENT in pairs:
        kind = str(dataset.get("PixelSpacingCalibrationType") or "")
        calibrated = kind in _TYPES or (flat and not _same(pairs[_PATIENT], pairs[flat]))
        if calibrated:
            return SpacingChoice(pairs[_PATIENT], _PATIENT, "patient")
        if flat is None and _BEAM not in pairs:
            note = "Pixel Spacing: the file does not tell whether it holds in the patient or at "
            return SpacingChoice(pairs[_PATIENT], _PATIENT, "unknown", (f"{note}the detector",))
    if _BEAM in pairs:
        return SpacingChoice(pairs[_BEAM], _BEAM, "patient")
    assert flat is not None
    return _at_detector(dataset, flat, pairs[flat])


def _at_detector(dataset: Any, name: str, pair: Spacing) -> SpacingChoice:
    """A spacing at the detector, brought into the patient where the magnification is known."""
    factor = _number(dataset.get(_FACTOR))
    if name == _DETECTOR and factor is not None and factor >= 1:
        row, column = pair[0] / factor, pair[1] / factor
        if is_spacing(row) and is_spacing(column):
            note = f"Imager Pixel Spacing, divided by the stated magnification {factor:g}"
            return SpacingChoice((row, column), f"{name} / {_FACTOR}", "patient", (note,))
    if name == _SCANNED:
        return SpacingChoice(pair, name, "detector", (f"{_WORDS[name]}: {_UNKNOWN_DEPTH}",))
    note = f"{_WORDS[name]}, at the detector: {_UNKNOWN_DEPTH}"
    return SpacingChoice(pair, name, "detector", (note,))


def _of_other(modality: str, pairs: dict[str, Spacing]) -> SpacingChoice:
    """Tomography, and what is neither that nor a projection, such as a screen capture."""
    name = next(name for name in (_PATIENT, _BEAM, _SCANNED, _DETECTOR) if name in pairs)
    known = modality in TOMOGRAPHY and name == _PATIENT
    return SpacingChoice(pairs[name], name, "patient" if known else "unknown")


def _disagreement(pairs: dict[str, Spacing], chosen: SpacingChoice) -> tuple[str, ...]:
    """What is told where the file has two spacings that differ."""
    taken = chosen.source.partition(" ")[0]
    others = [name for name, pair in pairs.items() if not _same(pair, pairs[taken])]
    if not others:
        return ()
    told = ", ".join(f"{_WORDS[name]} {_text(pairs[name])}" for name in (taken, *others))
    return (f"pixel spacings that differ: {told} (mm); {_WORDS[taken]} is taken",)


def _same(a: Spacing, b: Spacing) -> bool:
    return all(abs(x - y) <= SAME_WITHIN * max(x, y) for x, y in zip(a, b, strict=True))


def _text(pair: Spacing) -> str:
    return f"{pair[0]:g} x {pair[1]:g}"


def _pair(value: Any) -> Spacing | None:
    """Two numbers that can be spacings; None for anything else."""
    if value is None or isinstance(value, (str, bytes)) or not hasattr(value, "__len__"):
        return None
    numbers = [_number(each) for each in value]
    if len(numbers) != 2 or not all(map(is_spacing, numbers)):
        return None
    row, column = numbers
    return (row, column) if row is not None and column is not None else None


def _number(value: Any) -> float | None:
    try:
        return None if value is None or value == "" else float(value)
    except (TypeError, ValueError):
        return None
