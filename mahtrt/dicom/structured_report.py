"""Landmarks of a DICOM image as a DICOM structured report (Comprehensive 3D SR, TID 1500).

highdicom writes the object, and carries patient and study over from the image; this module says
what stands in it. Whoever does the same work twice gets the same SOP Instance UID, so that an
archive keeps one report of it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from mahtrt.data.dicom_damage import damage_words
from mahtrt.data.dicom_spacing import SpacingChoice
from mahtrt.dicom.algorithm import Algorithm
from mahtrt.dicom.codes import PRIVATE, Code, CodeTable, codes_for, short_text
from mahtrt.dicom.identifiers import derived_uid
from mahtrt.dicom.remarks import without_remarks
from mahtrt.dicom.report_groups import (
    Subject,
    landmark_groups,
    load_highdicom_sr,
    quantities_left_out,
    quantity_groups,
    reasons_to_leave_out,
)
from mahtrt.dicom.source import NEEDED_FOR, Source, read_source
from mahtrt.digest import sha256_of_bytes
from mahtrt.errors import ImageError, InputError, require
from mahtrt.measure.quantities import QuantityValue
from mahtrt.runtime.landmarks import Landmarks

SERIES_NUMBER = 9100  # behind the series of the study, whose numbers nobody tells us
SERIES_DESCRIPTION = "mahtrt landmarks"
MANUFACTURER = "mahtrt"
_UTF_8 = "ISO_IR 192"
# What highdicom takes from the image and judges before it takes it; an archive files a report by
# these, so that they are taken as they stand.
_AS_THEY_STAND = ("PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime")
_TYPE_2 = (*_AS_THEY_STAND, "PatientID", "AccessionNumber", "StudyID", "ReferringPhysicianName")
_PROCEDURE = Code("SCT", "363679005", "Imaging procedure")
_DEVICE = Code("DCM", "121007", "Device")


@dataclass(frozen=True, slots=True)
class ReportContent:
    """What stands in a report beside the landmarks.

    Attributes:
        quantities: Angles, distances and ratios of the landmarks.
        quantity_points: Name of a quantity to the landmarks that it rests on, where that is known.
        frame: The frame that the landmarks are of, from 1; None for an image with one frame.
        codes: Codes of landmarks and quantities; those that mahtrt ships where None.
        spacing: Where the spacing of the landmarks comes from, and in which plane it holds, which
            stands beside what is measured in mm.
        subject: What messages call the image.
        made: When the report was made, in local time; now where None.
    """

    quantities: tuple[QuantityValue, ...] = ()
    quantity_points: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    frame: int | None = None
    codes: CodeTable | None = None
    spacing: SpacingChoice = field(default_factory=SpacingChoice)
    subject: str = "image"
    made: datetime | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A structured report.

    Attributes:
        content: The file (DICOM PS3.10).
        sop_instance_uid: Its SOP Instance UID, which tells nothing of the patient.
        left_out: Landmarks that have no place in the image, and quantities that are not written,
            with the reason.
    """

    content: bytes
    sop_instance_uid: str
    left_out: Mapping[str, str]


def structured_report(
    source: bytes, found: Landmarks, algorithm: Algorithm, options: ReportContent | None = None
) -> bytes:
    """Landmarks as a DICOM file; as :func:`make_report`, which also tells what is left out."""
    return make_report(source, found, algorithm, options).content


def make_report(
    source: bytes, found: Landmarks, algorithm: Algorithm, options: ReportContent | None = None
) -> Report:
    """Landmarks as a structured report.

    The SOP Instance UID is derived from the image's bytes and its own UID, the frame, the bundle,
    the engine, the version of mahtrt, the points, the spacing, and the names and codes of what is
    written. The report is UNVERIFIED: nobody has looked at it.

    Args:
        source: The DICOM file that the landmarks are of.
        found: Its landmarks, in pixels of the image.
        algorithm: What made them.
        options: What else stands in it.

    Raises:
        ImageError: No DICOM, no such frame, or a header to which no report can belong.
        InputError: No landmarks.
        MissingComponentError: highdicom or pydicom is not installed.
    """
    options = options or ReportContent()
    if not found.names:
        raise InputError(options.subject, got="no landmarks", expected="at least one")
    sr = load_highdicom_sr()
    with without_remarks():
        image = read_source(source, options.subject, options.frame)
        codes = options.codes or codes_for()
        uid = _uid(image, found, algorithm, options, sha256_of_bytes(source))
        subject = Subject(image, algorithm, codes, uid, sr)
        reasons = reasons_to_leave_out(found, image)
        left_out = quantities_left_out(options.quantities, options.quantity_points, reasons)
        kept = [each for each in options.quantities if each.name not in left_out]
        try:
            groups = [
                *landmark_groups(subject, found),
                *quantity_groups(subject, found, kept, options.quantity_points, options.spacing),
            ]
            content = _bytes_of(_report(subject, groups, options.made))
        # highdicom raises almost anything about a header. Its text may hold values of the file, and
        # so is cut off the traceback too.
        except Exception as error:
            raise _no_report(image, options.subject, error) from None
    return Report(content, uid, {**reasons, **left_out})


def _no_report(image: Source, subject: str, error: Exception) -> ImageError:
    """The error about an image of which highdicom makes no report."""
    uids = require("pydicom.uid", extra="dicom", needed_for=NEEDED_FOR)
    if str(image.header.SOPClassUID) not in uids.UID_dictionary:
        return ImageError(
            subject,
            got="an SOP Class UID that the DICOM standard does not list",
            expected="an image of a storage class of the standard",
            fix="Take the image from the archive, as it was stored there.",
        )
    return ImageError(
        subject,
        got=f"a DICOM header to which no report can belong ({damage_words(error, 'header')})",
        expected="an image of a storage class of the standard, with patient and study",
    )


def _uid(
    image: Source, found: Landmarks, algorithm: Algorithm, options: ReportContent, digest: str
) -> str:
    """The same for the same work: whatever else changes the report is part of it.

    Args:
        digest: SHA-256 of the image's file, since two images may have one SOP Instance UID.
    """
    codes = options.codes or codes_for()
    coded = [
        *((codes.landmark(name), codes.site(name)) for name in found.names),
        *((codes.quantity(each.name), each.unit) for each in options.quantities),
    ]
    return derived_uid(
        "report",
        str(image.header.SOPInstanceUID),
        digest,
        str(image.frame),
        algorithm.bundle_digest,
        algorithm.engine,
        algorithm.version,
        np.ascontiguousarray(found.points, "<f4").tobytes().hex(),
        repr(found.spacing_mm and tuple(map(float, found.spacing_mm))),
        repr((options.spacing.source, options.spacing.plane, options.spacing.notes)),
        repr((found.names, coded)),
    )


def _report(subject: Subject, groups: list[Any], made: datetime | None) -> Any:
    """The whole document as highdicom has it."""
    header, about = subject.image.header, subject.algorithm
    made = made or datetime.now()
    content = _content(subject, groups)[0]
    if recoded := _needs_utf_8(header, content):
        header.decode()
    report = subject.sr.Comprehensive3DSR(
        evidence=[_evidence(header)],
        # highdicom copies the tree and walks through it four times, which takes as long as all the
        # rest; of one group it makes the same document, which then gets the whole tree.
        content=_content(subject, groups[:1])[0],
        series_instance_uid=derived_uid(
            "series", str(header.StudyInstanceUID), about.bundle_digest, about.engine
        ),
        series_number=SERIES_NUMBER,
        series_description=SERIES_DESCRIPTION,
        sop_instance_uid=subject.uid,
        instance_number=_instance_number(subject.image),
        manufacturer=MANUFACTURER,
        manufacturer_model_name=short_text(about.name),
        software_versions=short_text(about.version),
        device_serial_number=short_text(about.bundle_digest),
        is_complete=True,
        specific_character_set=None,
        coding_schemes=[_private_scheme()],
        content_date=made.date(),
        content_time=made.time(),
    )
    report.ContentSequence = content.ContentSequence
    _set_times(report, made)
    for keyword in _AS_THEY_STAND:
        if keyword in header:
            report[keyword] = header[keyword]
    if recoded:
        report.SpecificCharacterSet = _UTF_8
    elif "SpecificCharacterSet" in header:
        report["SpecificCharacterSet"] = header["SpecificCharacterSet"]
    return report


def _instance_number(image: Source) -> int:
    """The frame, or the image's Instance Number, so that viewers list reports in that order."""
    if image.frame is not None:
        return image.frame
    try:
        number = int(image.header.get("InstanceNumber") or 1)
    except (TypeError, ValueError):  # several values, or none that is a number
        return 1
    return number if 0 < number < 2**31 else 1


def _set_times(report: Any, made: datetime) -> None:
    """Give times that highdicom takes from the clock, its own contribution's among them."""
    report.InstanceCreationDate = report.ContentDate
    report.InstanceCreationTime = report.ContentTime
    for item in report.get("ContributingEquipmentSequence") or ():
        if item.get("ManufacturerModelName") == "highdicom":
            item.ContributionDateTime = made


def _content(subject: Subject, groups: list[Any]) -> Any:
    """The tree of the document: TID 1500, observed by a device (TID 1004)."""
    sr, about = subject.sr, subject.algorithm
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=derived_uid("device", about.bundle_digest, about.engine, about.device),
        name=about.name or "?",
        manufacturer_name=MANUFACTURER,
        model_name=about.engine,
        serial_number=about.bundle_digest,
    )
    observer = sr.ObserverContext(subject.concept(_DEVICE), device)
    return sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=subject.concept(_PROCEDURE),
        imaging_measurements=groups,
    )


def _evidence(header: Any) -> Any:
    """The image's header with everything that highdicom asks for, empty where it is not there."""
    pydicom = require("pydicom", extra="dicom", needed_for=NEEDED_FOR)
    evidence = pydicom.Dataset()
    evidence.set_original_encoding(*header.original_encoding, header.original_character_set)
    evidence.update(header)
    for keyword in _AS_THEY_STAND:
        evidence.pop(keyword, None)  # setting its value would set that of the header
    for keyword in _TYPE_2:
        if keyword not in evidence:
            setattr(evidence, keyword, "")
    return evidence


def _private_scheme() -> Any:
    schemes = require("highdicom.coding_schemes", extra="dicom", needed_for=NEEDED_FOR)
    return schemes.CodingSchemeIdentificationItem(
        PRIVATE, name="mahtrt landmarks", responsible_organization="mahtrt"
    )


def _needs_utf_8(header: Any, content: Any) -> bool:
    """Whether the image's own character set, which its archive can read, does not do.

    It does not where our texts have characters beyond ASCII, or it is none of the standard's.
    """
    charset = require("pydicom.charset", extra="dicom", needed_for=NEEDED_FOR)
    stored = header.get("SpecificCharacterSet") or ""
    names = [stored] if isinstance(stored, str) else stored
    keywords = {"CodeMeaning", "TextValue"}  # none of them came from the image
    texts = (str(each.value) for each in content.iterall() if each.keyword in keywords)
    return not (all(map(str.isascii, texts)) and all(n in charset.python_encoding for n in names))


def _bytes_of(report: Any) -> bytes:
    content = io.BytesIO()
    report.save_as(content, enforce_file_format=True)
    return content.getvalue()
