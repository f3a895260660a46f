"""Reports read by programs of others: dcmtk, dicom3tools, dcmqi, PixelMed and Orthanc."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from orthanc import find_orthanc, running_orthanc
from outside_readers import (
    PIXELMED_IS_PLEASED,
    dcmqi_numbers,
    dcmtk_points,
    dicom3tools_faults,
    pixelmed_lines,
    said_by,
)
from written_report import NOTES, SPACING_MM, Written

from mahtrt.dicom.algorithm import Algorithm
from mahtrt.runtime.landmarks import Landmarks

pytest.importorskip("pydicom", reason="the extra dicom is not installed")


def needs(program: str) -> None:
    """Skip a test where a program is not installed."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")


def test_dcmtk_reads_every_point(written: Written) -> None:
    needs("dsrdump")
    points = dcmtk_points(written.report) - 0.5
    assert np.abs(points - written.found.points).max() < 0.001
    told = said_by("dsrdump", "+Pl", written.report)
    assert '"Where the pixel spacing holds")=(unknown,99MAHTRT,"Not known")' in told
    assert '"Where the pixel spacing comes from")="PixelSpacing"' in told
    assert f'"Note on the pixel spacing")="{NOTES[0]}"' in told
    assert told.count('"Heatmap far wider than usual")=(373066001,SCT,"Yes")') == 1


def test_dcmtk_makes_a_page_of_it(written: Written) -> None:
    needs("dsr2html")
    page = said_by("dsr2html", written.report)
    assert "Imaging Measurement Report" in page
    assert all(name in page for name in written.found.names if name != "nasion")
    assert "Nasion" in page  # the meaning of its code


def test_dicom3tools_finds_no_fault(written: Written) -> None:
    needs("dciodvfy")
    assert dicom3tools_faults(written.report) == []


def test_dcmqi_reads_points_and_measurements(written: Written, tmp_path: Path) -> None:
    # It passes over SCOORD (QIICR/dcmqi#440): what it reads are the numbers beside it.
    needs("tid1500reader")
    groups = dcmqi_numbers(written.report, tmp_path / "dcmqi.json")
    for i, name in enumerate(written.found.names):
        point = np.array([groups[name]["column"], groups[name]["row"]]) - 0.5
        assert np.abs(point - written.found.points[i]).max() < 0.001
        assert abs(groups[name]["confidence"] - written.found.confidence[i]) < 1e-6
    (quantities,) = (found for name, found in groups.items() if "N-Me" in found)
    assert set(quantities) == {each.name for each in written.quantities}
    assert "Where the pixel spacing holds" in (tmp_path / "dcmqi.json").read_text()
    points = written.found.points.astype(np.float64) * SPACING_MM[::-1]
    s, n, a, _, _, menton, _ = points
    assert abs(quantities["N-Me"] - np.hypot(*(n - menton))) < 1e-3
    cosine = (s - n) @ (a - n) / np.linalg.norm(s - n) / np.linalg.norm(a - n)
    assert abs(quantities["SNA"] - np.degrees(np.arccos(cosine))) < 1e-3


@pytest.mark.slow
def test_pixelmed_accepts_it(written: Written) -> None:
    needs("DicomSRValidator")
    if "MAHTRT_PIXELMED" not in os.environ:
        pytest.skip("it takes 15 seconds, and runs where MAHTRT_PIXELMED is set")
    assert pixelmed_lines(written.report) == PIXELMED_IS_PLEASED


@pytest.mark.parametrize("names", [("sella", "menton", "gone", "hidden"), ("sella",), ("gone",)])
def test_landmarks_without_a_place_are_read(
    written: Written, tmp_path: Path, names: tuple[str, ...]
) -> None:
    from mahtrt.dicom.structured_report import structured_report

    needs("dciodvfy")
    needs("tid1500reader")
    points = {"sella": (5, 6), "menton": (6, 7), "gone": (-50, 6), "hidden": (7, 8)}
    count = len(names)
    found = Landmarks(
        points=np.array([points[name] for name in names], np.float32),
        confidence=np.full(count, np.nan, np.float32),
        spread=np.full(count, np.nan, np.float32),
        names=names,
        visibility=np.array([0.9 * (name != "hidden") for name in names], np.float32),
    )
    report = tmp_path / "report.dcm"
    made_by = Algorithm("net.mahtrt", "0.1.0", "ab" * 32, "fp32", "cpu", "It passed its gate.")
    report.write_bytes(structured_report(written.image.read_bytes(), found, made_by))
    assert dicom3tools_faults(report) == []
    groups = dcmqi_numbers(report, tmp_path / "dcmqi.json")
    located = [name for name in names if name in ("sella", "menton")]
    assert [name for name in names if "column" in groups[name]] == located
    if "MAHTRT_PIXELMED" in os.environ:
        assert pixelmed_lines(report) == PIXELMED_IS_PLEASED


@pytest.mark.slow
def test_dicom_validator_accepts_it(written: Written) -> None:
    needs("validate_iods")
    standard = os.environ.get("MAHTRT_DICOM_STANDARD")
    if standard is None:
        pytest.skip("MAHTRT_DICOM_STANDARD names no folder with the standard's DocBook files")
    told = said_by("validate_iods", "-src", standard, "-e", "local", written.report)
    assert "error" not in told.lower()


@pytest.mark.skipif(find_orthanc() is None, reason="Orthanc is not installed")
def test_orthanc_gives_back_what_it_was_given(written: Written, tmp_path: Path) -> None:
    content = written.report.read_bytes()
    with running_orthanc(tmp_path) as orthanc:
        image = orthanc.told("/instances", written.image.read_bytes())
        stored: Any = orthanc.told("/instances", content)
        assert stored["Status"] == "Success"
        assert stored["ParentStudy"] == image["ParentStudy"]
        assert stored["ParentPatient"] == image["ParentPatient"]
        assert orthanc.ask(f"/instances/{stored['ID']}/file") == content
        assert orthanc.told("/instances", content)["Status"] == "AlreadyStored"
        tags = orthanc.told(f"/instances/{stored['ID']}/simplified-tags")
    assert tags["VerificationFlag"] == "UNVERIFIED"
    assert tags["Modality"] == "SR"
