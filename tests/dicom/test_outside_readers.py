"""Reports read by programs of others: dcmtk, dicom3tools, dcmqi, PixelMed and Orthanc."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from orthanc import find_orthanc, running_orthanc
from written_report import SPACING_MM, Written

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")

# PixelMed's style sheet has more expressions than Java allows by itself.
_JAVA = "-Djdk.xml.xpathExprGrpLimit=0 -Djdk.xml.xpathExprOpLimit=0 -Djdk.xml.xpathTotalOpLimit=0"


def run(program: str, *arguments: object, **environment: str) -> str:
    """What a program says; the test is skipped where it is not installed."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run(
        [program, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def numbers_by_group(written: Written, folder: Path) -> dict[str, dict[str, float]]:
    """Tracking Identifier to code value to number, as dcmqi reads them."""
    metadata = folder / "dcmqi.json"
    run("tid1500reader", "--inputDICOM", written.report, "--outputMetadata", metadata)
    document = json.loads(metadata.read_text())
    return {
        group["TrackingIdentifier"]: {
            item["quantity"]["CodeValue"]: float(item["value"])
            for item in group["measurementItems"]
        }
        for group in document["Measurements"]
    }


def test_dcmtk_reads_every_point(written: Written) -> None:
    told = run("dsrdump", "+Pl", written.report)
    assert not re.search(r"^[WE]:", told, re.MULTILINE)
    found = re.findall(r'"Image Region"\)=\(POINT,([\d.]+)/([\d.]+)\)', told)
    points = np.array(found, np.float64) - 0.5
    assert np.abs(points - written.found.points).max() < 0.001
    assert told.count('"Heatmap far wider than usual")=(373066001,SCT,"Yes")') == 1


def test_dcmtk_makes_a_page_of_it(written: Written) -> None:
    page = run("dsr2html", written.report)
    assert "Imaging Measurement Report" in page
    assert all(name in page for name in written.found.names if name != "nasion")
    assert "Nasion" in page  # the meaning of its code


def test_dicom3tools_finds_no_fault(written: Written) -> None:
    lines = run("dciodvfy", written.report).splitlines()
    private = "Warning - Unrecognized defined term <99MAHTRT>"  # as it says of all private schemes
    assert [line for line in lines if not line.startswith(private)] == ["Comprehensive3DSR"]


def test_dcmqi_reads_points_and_measurements(written: Written, tmp_path: Path) -> None:
    # It passes over SCOORD (QIICR/dcmqi#440): what it reads are the numbers beside it.
    groups = numbers_by_group(written, tmp_path)
    for i, name in enumerate(written.found.names):
        point = [groups[name]["column"] - 0.5, groups[name]["row"] - 0.5]
        assert np.abs(point - written.found.points[i]).max() < 0.001
        assert abs(groups[name]["confidence"] - written.found.confidence[i]) < 1e-6
    (quantities,) = (found for name, found in groups.items() if "N-Me" in found)
    assert set(quantities) == {each.name for each in written.quantities}
    points = written.found.points.astype(np.float64) * SPACING_MM[::-1]
    s, n, a, _, _, menton, _ = points
    assert abs(quantities["N-Me"] - np.hypot(*(n - menton))) < 1e-3
    cosine = (s - n) @ (a - n) / np.linalg.norm(s - n) / np.linalg.norm(a - n)
    assert abs(quantities["SNA"] - np.degrees(np.arccos(cosine))) < 1e-3


@pytest.mark.slow
def test_pixelmed_accepts_it(written: Written) -> None:
    if "MAHTRT_PIXELMED" not in os.environ:
        pytest.skip("it takes 15 seconds, and runs where MAHTRT_PIXELMED is set")
    told = run("DicomSRValidator", written.report, JAVA_TOOL_OPTIONS=_JAVA)
    # Its templates are older than the qualitative evaluations of TID 1410.
    known = ("JAVA_TOOL_OPTIONS", '"Heatmap far wider than usual"): Content Item not in template')
    lines = [line for line in told.splitlines() if not any(each in line for each in known)]
    assert sorted(lines) == [
        "Found Comprehensive3DSR IOD",
        "Found Root Template TID_1500 (MeasurementReport)",
        "IOD validation complete",
        "Root Template Validation Complete",
    ]


@pytest.mark.slow
def test_dicom_validator_accepts_it(written: Written) -> None:
    standard = os.environ.get("MAHTRT_DICOM_STANDARD")
    if standard is None:
        pytest.skip("MAHTRT_DICOM_STANDARD names no folder with the standard's DocBook files")
    told = run("validate_iods", "-src", standard, "-e", "local", written.report)
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
