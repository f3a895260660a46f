"""Structured reports: what stands in them, read back by highdicom."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import PATIENT, write_patient_image

from mahtrt.data.dicom_spacing import SpacingChoice
from mahtrt.dicom.algorithm import Algorithm
from mahtrt.dicom.structured_report import ReportContent, make_report, structured_report
from mahtrt.errors import ImageError, InputError
from mahtrt.measure.quantities import QuantityValue
from mahtrt.runtime.landmarks import Landmarks

sr = pytest.importorskip("highdicom.sr", reason="the extra dicom is not installed")
pydicom = pytest.importorskip("pydicom")

ROWS, COLUMNS = 40, 50
MADE_BY = Algorithm("net.mahtrt", "0.1.0", "ab" * 32, "onnxruntime-fp32", "cpu", "It passed.")
POINTS = np.array([[10.25, 20.75], [-0.5, 39.5], [49.4999, 0.0]], np.float32)
NAMES = ("sella", "nasion", "a landmark with a long name")


def landmarks(points: Any = POINTS, names: tuple[str, ...] = NAMES, **more: Any) -> Landmarks:
    count = len(names)
    return Landmarks(
        points=np.asarray(points, np.float32),
        confidence=np.linspace(0.5, 0.9, count, dtype=np.float32),
        spread=np.linspace(1, 2, count, dtype=np.float32),
        names=names,
        **more,
    )


def image(folder: Path, **fields: object) -> bytes:
    pixels = np.zeros((ROWS, COLUMNS), np.uint8)
    return write_patient_image(folder / "image.dcm", pixels, **fields).read_bytes()


def read(content: bytes) -> Any:
    return sr.srread(io.BytesIO(content))


def points_of(report: Any) -> dict[str, Any]:
    """Tracking Identifier to the point of each planar group, as highdicom reads it."""
    groups = report.content.get_planar_roi_measurement_groups()
    return {group.tracking_identifier: group.roi.value[0] for group in groups}


def test_points_lie_half_a_pixel_further_for_dicom(tmp_path: Path) -> None:
    report = read(structured_report(image(tmp_path), landmarks(), MADE_BY))
    found = points_of(report)
    assert tuple(found) == NAMES
    for name, point in zip(NAMES, POINTS, strict=True):
        assert np.abs(found[name] - 0.5 - point).max() < 0.001
    assert found["nasion"].tolist() == [0, ROWS]  # the corner, which is still in the image


def test_patient_and_study_are_those_of_the_image(tmp_path: Path) -> None:
    source = pydicom.dcmread(io.BytesIO(image(tmp_path)))
    report = read(structured_report(image(tmp_path), landmarks(), MADE_BY))
    for keyword in (*PATIENT, "StudyInstanceUID"):
        assert report[keyword].value == source[keyword].value, keyword
    assert report.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.34"  # Comprehensive 3D SR
    assert (report.VerificationFlag, report.CompletionFlag) == ("UNVERIFIED", "COMPLETE")
    assert report.get_evidence()[0][2:] == (source.SOPInstanceUID, source.SOPClassUID)


def test_the_same_work_gives_the_same_instance(tmp_path: Path) -> None:
    source, found = image(tmp_path), landmarks()
    first = make_report(source, found, MADE_BY)
    assert first.sop_instance_uid == make_report(source, found, MADE_BY).sop_instance_uid
    other_pixels = np.ones((ROWS, COLUMNS), np.uint8)
    same_uid = write_patient_image(tmp_path / "image.dcm", other_pixels).read_bytes()
    moved = replace(found, points=found.points + np.float32(1e-3))
    chosen = SpacingChoice((1, 1), "ImagerPixelSpacing", "detector")
    others = [
        make_report(same_uid, found, MADE_BY),
        make_report(source, moved, MADE_BY),
        make_report(source, found, MADE_BY, ReportContent(spacing=chosen)),
        make_report(source, found, replace(MADE_BY, engine="another")),
        make_report(source, found, replace(MADE_BY, bundle_digest="cd" * 32)),
        make_report(source, found, MADE_BY, ReportContent((QuantityValue("SNA", "deg", 80.0),))),
        make_report(image(tmp_path, SOPInstanceUID="1.2.3"), found, MADE_BY),
    ]
    assert len({first.sop_instance_uid, *(each.sop_instance_uid for each in others)}) == 8


@pytest.mark.parametrize(("stored", "number"), [("7", 7), ("", 1), ("-3", 1), (None, 1)])
def test_reports_are_numbered_as_their_images(
    tmp_path: Path, stored: str | None, number: int
) -> None:
    fields = {} if stored is None else {"InstanceNumber": stored}
    report = read(structured_report(image(tmp_path, **fields), landmarks(), MADE_BY))
    assert report.InstanceNumber == number


def test_the_same_moment_gives_the_same_bytes(tmp_path: Path) -> None:
    source, content = image(tmp_path), ReportContent(made=datetime(2026, 1, 2, 3, 4, 5, 678))
    first, second = (structured_report(source, landmarks(), MADE_BY, content) for _ in range(2))
    assert first == second


def test_what_is_not_in_the_image_has_no_point(tmp_path: Path) -> None:
    points = [[1, 1], [np.nan, 2], [50.1, 3], [4, 4]]
    found = landmarks(
        points,
        ("seen", "no number", "outside", "hidden"),
        visibility=np.array([0.9, 0.9, 0.9, 0.1], np.float32),
    )
    values = (QuantityValue("kept", "deg", 1.5), QuantityValue("gone", "mm", math.nan))
    rests = QuantityValue("rests", "mm", 2.0)
    content = ReportContent((*values, rests), {"rests": ("seen", "outside")})
    report = make_report(image(tmp_path), found, MADE_BY, content)
    assert report.left_out == {
        "no number": "not finite",
        "outside": "outside the image",
        "hidden": "not visible",
        "gone": "no value",
        "rests": "rests on outside",
    }
    read_back = read(report.content)
    assert tuple(points_of(read_back)) == ("seen",)
    groups = read_back.content.get_image_measurement_groups()
    told = {g.tracking_identifier: g.get_qualitative_evaluations() for g in groups}
    assert [told[name][0].value.meaning for name in ("no number", "outside", "hidden")] == [
        "The network gave no number",
        "Outside the image",
        "Not visible",
    ]
    assert [m.name.meaning for g in groups for m in g.get_measurements()].count("kept") == 1


def test_a_network_without_landmarks_has_no_report(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no landmarks"):
        structured_report(image(tmp_path), landmarks(np.zeros((0, 2)), ()), MADE_BY)


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_an_image_of_no_study_is_refused(tmp_path: Path, keyword: str) -> None:
    with pytest.raises(ImageError, match=f"no {keyword[:3]}"):
        structured_report(image(tmp_path, **{keyword: ""}), landmarks(), MADE_BY)


def test_what_is_no_dicom_is_refused() -> None:
    with pytest.raises(ImageError, match=r"head\.png: got a file that is not DICOM"):
        structured_report(b"\x89PNG", landmarks(), MADE_BY, ReportContent(subject="head.png"))
