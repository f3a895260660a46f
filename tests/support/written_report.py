"""A structured report of a phantom, and what stands in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from dicom_files import write_patient_image

from mahtrt.data.dicom_spacing import SpacingChoice
from mahtrt.data.phantom import PhantomDataset
from mahtrt.dicom.algorithm import Algorithm
from mahtrt.measure.quantities import QuantityValue
from mahtrt.measure.quantity_file import quantities_for
from mahtrt.runtime.case_writers import points_of_quantities
from mahtrt.runtime.landmarks import Landmarks

SPACING_MM = (0.25, 0.5)
NOTES = ("Pixel Spacing: the file does not tell where it holds",)


@dataclass(frozen=True)
class Written:
    """A report, the image it is of, and what it says.

    Attributes:
        image: The DICOM image.
        report: The structured report.
        quantities: What was computed of the landmarks.
    """

    image: Path
    report: Path
    found: Landmarks
    quantities: tuple[QuantityValue, ...]


def write_report(folder: Path) -> Written:
    """The report of a phantom cephalogram with all its quantities."""
    from mahtrt.dicom.structured_report import ReportContent, structured_report

    sample = PhantomDataset(1, 5)[0]
    spacing = [str(each) for each in SPACING_MM]
    image = write_patient_image(folder / "image.dcm", sample.image, PixelSpacing=spacing)
    names = ("sella", "nasion", "a_point", "b_point", "pogonion", "menton", "gnathion")
    assert sample.points_px is not None
    found = Landmarks(
        points=sample.points_px + np.float32(1 / 3),
        confidence=np.linspace(0.5, 0.9, 7, dtype=np.float32),
        spread=np.linspace(1, 2, 7, dtype=np.float32),
        names=names,
        spacing_mm=SPACING_MM,
        two_peaks=np.arange(7) == 3,
    )
    selection = quantities_for("auto", names)
    assert selection is not None
    values = selection.values(found.points, names, SPACING_MM)
    made_by = Algorithm("net.mahtrt", "0.1.0", "ab" * 32, "fp32", "cpu", "It passed its gate.")
    content = ReportContent(
        values,
        points_of_quantities(selection, names),
        spacing=SpacingChoice(SPACING_MM, "PixelSpacing", "unknown", NOTES),
    )
    report = folder / "report.dcm"
    report.write_bytes(structured_report(image.read_bytes(), found, made_by, content))
    return Written(image, report, found, values)
