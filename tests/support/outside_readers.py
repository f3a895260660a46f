"""Programs of others that read structured reports: dcmtk, dicom3tools, dcmqi and PixelMed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# PixelMed's style sheet has more expressions than Java allows by itself.
_JAVA = "-Djdk.xml.xpathExprGrpLimit=0 -Djdk.xml.xpathExprOpLimit=0 -Djdk.xml.xpathTotalOpLimit=0"
_POINT = re.compile(r'"Image Region"\)=\(POINT,([\d.]+)/([\d.]+)\)')
_WARNING = re.compile(r"^[WE]:", re.MULTILINE)
_PRIVATE = "Warning - Unrecognized defined term <99MAHTRT>"  # as it says of all private schemes
PIXELMED_IS_PLEASED = [
    "Found Comprehensive3DSR IOD",
    "Found Root Template TID_1500 (MeasurementReport)",
    "IOD validation complete",
    "Root Template Validation Complete",
]


def said_by(program: str, *arguments: object, **environment: str) -> str:
    """What a program says.

    Raises:
        FileNotFoundError: It is not installed.
    """
    if shutil.which(program) is None:
        raise FileNotFoundError(program)
    done = subprocess.run(
        [program, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def dcmtk_points(report: Path) -> NDArray[np.float64]:
    """(K, 2) points as ``dsrdump`` reads them, in the order of the report; it may not warn."""
    told = said_by("dsrdump", "+Pl", report)
    assert not _WARNING.search(told), told
    return np.array(_POINT.findall(told), np.float64).reshape(-1, 2)


def dcmqi_numbers(report: Path, metadata: Path) -> dict[str, dict[str, float]]:
    """Tracking Identifier to code value to number, as ``tid1500reader`` writes them.

    Args:
        metadata: A file for what it writes.
    """
    said_by("tid1500reader", "--inputDICOM", report, "--outputMetadata", metadata)
    document: Any = json.loads(metadata.read_text(encoding="utf-8"))
    return {
        group["TrackingIdentifier"]: {
            item["quantity"]["CodeValue"]: float(item["value"])
            for item in group.get("measurementItems", ())
        }
        for group in document["Measurements"]
    }


def dicom3tools_faults(report: Path) -> list[str]:
    """What ``dciodvfy`` finds, but for codes of the private scheme."""
    lines = said_by("dciodvfy", report).splitlines()
    return [line for line in lines if line != "Comprehensive3DSR" and not line.startswith(_PRIVATE)]


def pixelmed_lines(report: Path) -> list[str]:
    """What ``DicomSRValidator`` says, in order.

    Its templates are older than qualitative evaluations in groups. It holds groups against TID 1410
    where a report has exactly one region, and then all of them; else against TID 1501.
    """
    told = said_by("DicomSRValidator", report, JAVA_TOOL_OPTIONS=_JAVA)
    known = (
        "JAVA_TOOL_OPTIONS",
        '"Heatmap far wider than usual"): Content Item not in template',
        '"Landmark without a place in the image"): Content Item not in template',
        '"Where the pixel spacing holds"): Content Item not in template',
        '"Where the pixel spacing comes from"): Content Item not in template',
        '"Note on the pixel spacing"): Content Item not in template',
    )
    return sorted(line for line in told.splitlines() if not any(each in line for each in known))
