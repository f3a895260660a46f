"""Measurement groups of a report: one for each landmark, and one for what is computed of them.

A landmark is a planar region of interest of one point (DICOM PS3.16, TID 1410). One that is not in
the image has no region: it is a group without one (TID 1501) that says why. highdicom writes the
templates; what stands in them is decided here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mahtrt.data.dicom_spacing import Plane, SpacingChoice
from mahtrt.dicom.algorithm import Algorithm
from mahtrt.dicom.codes import Code, CodeTable, private_code, short_text
from mahtrt.dicom.identifiers import derived_uid
from mahtrt.dicom.source import NEEDED_FOR, Source
from mahtrt.errors import require
from mahtrt.measure.quantities import QuantityValue
from mahtrt.runtime.landmarks import Landmarks

# Units of measurement in UCUM, the scheme that TID 300 asks for.
UNITS = {
    "mm": Code("UCUM", "mm", "millimeter"),
    "deg": Code("UCUM", "deg", "degree"),
    "ratio": Code("UCUM", "1", "no units"),
    "px": Code("UCUM", "{pixels}", "pixels"),
}
# The point once more as numbers, for readers that pass over coordinates.
COLUMN = private_code("column", "Column of the point, from the image's left edge")
ROW = private_code("row", "Row of the point, from the image's upper edge")
CONFIDENCE = private_code("confidence", "Value of the heatmap's peak")
SPREAD = private_code("spread", "Standard deviation of the heatmap")
VISIBILITY = private_code("visibility", "Probability that the landmark can be seen")
WIDE_HEATMAP = private_code("wide_heatmap", "Heatmap far wider than usual")
NOT_LOCATED = private_code("not_located", "Landmark without a place in the image")
REASONS = {
    "not finite": private_code("not_finite", "The network gave no number"),
    "outside the image": private_code("outside", "Outside the image"),
    "not visible": private_code("not_visible", "Not visible"),
}
QUANTITIES = private_code("quantities", "Quantities computed of landmarks")
# Millimetres at the detector are larger than those in the patient: a number alone does not tell.
SPACING_PLANE = private_code("spacing_plane", "Where the pixel spacing holds")
SPACING_SOURCE = private_code("spacing_source", "Where the pixel spacing comes from")
SPACING_NOTE = private_code("spacing_note", "Note on the pixel spacing")
PLANES: Mapping[Plane, Code] = {
    "patient": private_code("patient", "In the patient"),
    "detector": private_code("detector", "At the detector"),
    "unknown": private_code("unknown", "Not known"),
}
_YES = Code("SCT", "373066001", "Yes")


@dataclass(frozen=True, slots=True)
class Subject:
    """What the groups of one report share.

    Attributes:
        uid: SOP Instance UID of the report.
        sr: The module ``highdicom.sr``.
    """

    image: Source
    algorithm: Algorithm
    codes: CodeTable
    uid: str
    sr: Any

    def concept(self, code: Code) -> Any:
        """A code as highdicom has it."""
        return self.sr.CodedConcept(code.value, code.scheme, code.meaning)

    def source_image(self) -> Any:
        """The reference to the image, and to the frame where it has several."""
        header = self.image.header
        return self.sr.SourceImageForRegion(
            header.SOPClassUID, header.SOPInstanceUID, self.image.frames
        )

    def about(self, name: str, kind: str) -> dict[str, Any]:
        """What every group says: what it is about, and what made it."""
        uid = derived_uid("tracking", self.uid, kind, name)
        about = self.algorithm
        return {
            "tracking_identifier": self.sr.TrackingIdentifier(uid, name or "?"),
            "algorithm_id": self.sr.AlgorithmIdentification(
                name=about.name or "?",
                version=about.version,
                parameters=[
                    f"bundle SHA-256: {about.bundle_digest}",
                    f"engine: {about.engine}",
                    f"device: {about.device}",
                    f"accuracy gate: {about.verdict}",
                ],
            ),
        }

    def measurement(self, name: Code, value: float, unit: Code, **more: Any) -> Any:
        """A number (TID 300)."""
        return self.sr.Measurement(self.concept(name), float(value), self.concept(unit), **more)


def graphic_points(points_px: Any) -> Any:
    """Points as Graphic Data has them: (..., 2) float32, column and row.

    The origin is the top left corner of the first pixel, whose own centre is at 0.5, and the
    values are single precision (DICOM PS3.3, table C.18.6-1). Ours are from its centre.
    """
    return (np.asarray(points_px, np.float64) + 0.5).astype(np.float32)


def reasons_to_leave_out(found: Landmarks, image: Source) -> dict[str, str]:
    """Name of each landmark that has no place in the image to the reason, a key of REASONS.

    The place of a landmark that the network calls invisible is a guess: it is no place either.
    """
    reasons: dict[str, str] = {}
    visible = found.visible
    for i, (name, point) in enumerate(zip(found.names, graphic_points(found.points), strict=True)):
        if not np.isfinite(point).all():
            reasons[name] = "not finite"
        elif not (0 <= point[0] <= image.columns and 0 <= point[1] <= image.rows):
            reasons[name] = "outside the image"
        elif visible is not None and not visible[i]:
            reasons[name] = "not visible"
    return reasons


def landmark_groups(subject: Subject, found: Landmarks) -> Iterator[Any]:
    """A group for each landmark, in the network's order."""
    reasons = reasons_to_leave_out(found, subject.image)
    for i, name in enumerate(found.names):
        about = subject.about(name, "landmark")
        about["finding_type"] = subject.concept(subject.codes.landmark(name))
        if site := subject.codes.site(name):
            about["finding_sites"] = [subject.sr.FindingSite(subject.concept(site))]
        if name in reasons:
            why = subject.concept(REASONS[reasons[name]])
            told = [subject.sr.QualitativeEvaluation(subject.concept(NOT_LOCATED), why)]
            yield subject.sr.MeasurementsAndQualitativeEvaluations(
                **about,
                measurements=_measurements(subject, found, i, VISIBILITY),
                qualitative_evaluations=told,
            )
            continue
        region = subject.sr.ImageRegion(
            "POINT", graphic_points(found.points[i : i + 1]), subject.source_image()
        )
        yield subject.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
            **about,
            referenced_region=region,
            measurements=_measurements(subject, found, i),
            qualitative_evaluations=_doubts(subject, found, i),
        )


def quantity_groups(
    subject: Subject,
    found: Landmarks,
    quantities: Sequence[QuantityValue],
    points: Mapping[str, Sequence[str]],
    spacing: SpacingChoice,
) -> Iterator[Any]:
    """At most one group, with a number for each quantity that has a value.

    Args:
        quantities: Those to write (:func:`quantities_left_out` says which are not).
        points: Name of a quantity to the landmarks that it rests on, where that is known.
        spacing: What millimetres rest on.
    """
    index = {name: i for i, name in enumerate(found.names)}
    numbers = []
    for each in quantities:
        places = [index[name] for name in points.get(each.name, ()) if name in index]
        more: dict[str, Any] = {}
        if places:
            kind = "MULTIPOINT" if len(places) > 1 else "POINT"
            data = graphic_points(found.points[places])
            more["referenced_coordinates"] = [
                subject.sr.CoordinatesForMeasurement(kind, data, subject.source_image())
            ]
        name = subject.codes.quantity(each.name)
        numbers.append(subject.measurement(name, each.value, UNITS[each.unit], **more))
    if not numbers:
        return
    in_mm = found.spacing_mm is not None
    plane = subject.concept(PLANES[spacing.plane])
    told = [subject.sr.QualitativeEvaluation(subject.concept(SPACING_PLANE), plane)]
    group = subject.sr.MeasurementsAndQualitativeEvaluations(
        **subject.about(QUANTITIES.meaning, "quantities"),
        finding_type=subject.concept(QUANTITIES),
        measurements=numbers,
        qualitative_evaluations=told if in_mm else None,
    )
    if in_mm:
        group[0].ContentSequence.extend(_texts_on_spacing(subject, spacing))
    yield group


def _texts_on_spacing(subject: Subject, spacing: SpacingChoice) -> Iterator[Any]:
    """Evaluations that are texts (TID 1501, row 12), which highdicom does not write."""
    texts = [(SPACING_SOURCE, spacing.source or "not stated")]
    for name, text in [*texts, *((SPACING_NOTE, note) for note in spacing.notes)]:
        yield subject.sr.TextContentItem(
            subject.concept(name), text, subject.sr.RelationshipTypeValues.CONTAINS
        )


def quantities_left_out(
    quantities: Sequence[QuantityValue],
    points: Mapping[str, Sequence[str]],
    reasons: Mapping[str, str],
) -> dict[str, str]:
    """Name of each quantity that is not written to the reason.

    Args:
        reasons: Why landmarks have no place (:func:`reasons_to_leave_out`).
    """
    left_out = {}
    for each in quantities:
        gone = [name for name in points.get(each.name, ()) if name in reasons]
        if not math.isfinite(each.value):
            left_out[each.name] = "no value"
        elif gone:
            left_out[each.name] = f"rests on {short_text(gone[0])}"
    return left_out


def _measurements(subject: Subject, found: Landmarks, index: int, *only: Code) -> list[Any] | None:
    """What the network says of one landmark beside its place; what is not finite is left out."""
    visibility = None if found.visibility is None else found.visibility[index]
    column, row = graphic_points(found.points[index])
    numbers = [
        subject.measurement(name, float(value), UNITS[unit])
        for name, value, unit in (
            (COLUMN, column, "px"),
            (ROW, row, "px"),
            (CONFIDENCE, found.confidence[index], "ratio"),
            (SPREAD, found.spread[index], "px"),
            (VISIBILITY, visibility, "ratio"),
        )
        if value is not None and math.isfinite(value) and (not only or name in only)
    ]
    return numbers or None


def _doubts(subject: Subject, found: Landmarks, index: int) -> list[Any] | None:
    if found.two_peaks is None or not found.two_peaks[index]:
        return None
    yes = subject.concept(_YES)
    return [subject.sr.QualitativeEvaluation(subject.concept(WIDE_HEATMAP), yes)]


def load_highdicom_sr() -> Any:
    """The module ``highdicom.sr``.

    Raises:
        MissingComponentError: highdicom is not installed.
    """
    return require("highdicom.sr", extra="dicom", needed_for=NEEDED_FOR)
