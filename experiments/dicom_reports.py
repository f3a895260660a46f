"""Structured reports of many images, read back by programs of others.

    python experiments/dicom_reports.py nano.mahtrt --images 50 --out reports.json

Phantom cephalograms become DICOM images with patients, and ``mahtrt predict --dicom-sr`` makes a
report of each. highdicom, dcmtk, dicom3tools, dcmqi and Orthanc then read all of them, and
PixelMed's validator the first: the document says how far points are from those of the session,
after the half pixel, how far measurements are from a computation of this script's own, and what
each program complained of. All of the programs have to be installed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mahtrt
from mahtrt.atomic import write_text_atomic
from mahtrt.data.phantom import PhantomDataset
from mahtrt.dicom.case_files import ReportWriter
from mahtrt.machine import describe_machine, package_versions
from mahtrt.runtime.results import Prediction
from mahtrt.schema import plain
from mahtrt.scratch import temporary_folder

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

SCHEMA = "mahtrt.dicom-reports/1"
HALF = 0.5


def write_images(folder: Path, count: int, seed: int) -> list[Path]:
    """Phantoms as DICOM images, each with its own pixel spacing."""
    from dicom_files import write_patient_image

    paths = []
    for i, sample in enumerate(PhantomDataset(count, seed)):
        spacing = [f"{each:.8f}" for each in sample.spacing_mm or (1, 1)]
        path = folder / f"{i:04}.dcm"
        paths.append(write_patient_image(path, sample.image, PixelSpacing=spacing))
    return paths


def own_values(prediction: Prediction) -> dict[str, float]:
    """Quantities by the arithmetic of complex numbers, not by that of mahtrt."""
    row, column = prediction.landmarks.spacing_mm or (1.0, 1.0)
    points = prediction.landmarks.points.astype(np.float64)
    at = {
        name: complex(x * column, y * row)
        for name, (x, y) in zip(prediction.landmarks.names, points.tolist(), strict=True)
    }

    def angle(first: str, corner: str, last: str) -> float:
        turn = (at[first] - at[corner]) / (at[last] - at[corner])
        return float(abs(np.degrees(np.angle(turn))))

    sna, snb = (angle("sella", "nasion", point) for point in ("a_point", "b_point"))
    return {"SNA": sna, "SNB": snb, "ANB": sna - snb, "N-Me": abs(at["nasion"] - at["menton"])}


def furthest(found: NDArray[np.float64], points: NDArray[np.floating]) -> float:
    """The largest difference of points that a reader gave, in pixels."""
    assert found.shape == points.shape, "points are missing"
    return float(np.abs(found - HALF - points).max())


def read_report(prediction: Prediction, metadata: Path) -> dict[str, Any]:
    """What each program reads of one report."""
    import highdicom.sr
    from outside_readers import dcmqi_numbers, dcmtk_points, dicom3tools_faults

    report = Path(prediction.extra["dicom_sr"])
    points, names = prediction.landmarks.points, prediction.landmarks.names
    content: Any = highdicom.sr.srread(report).content
    groups = content.get_planar_roi_measurement_groups()
    numbers = dcmqi_numbers(report, metadata)
    told = np.array([[numbers[name]["column"], numbers[name]["row"]] for name in names])
    values: Mapping[str, float] = next(each for each in numbers.values() if "SNA" in each)
    own = own_values(prediction)
    return {
        "highdicom_px": furthest(np.array([group.roi.value[0] for group in groups]), points),
        "dcmtk_px": furthest(dcmtk_points(report), points),
        "dcmqi_px": furthest(told, points),
        "quantities": max(abs(values[name] - own[name]) for name in own),
        "dicom3tools": dicom3tools_faults(report),
    }


def keep_in_orthanc(predictions: list[Prediction], folder: Path) -> int:
    """How many reports Orthanc stores beside their image and gives back byte for byte."""
    from orthanc import running_orthanc

    kept = 0
    with running_orthanc(folder) as orthanc:
        for prediction in predictions:
            image = orthanc.told("/instances", Path(prediction.image).read_bytes())
            content = Path(prediction.extra["dicom_sr"]).read_bytes()
            stored = orthanc.told("/instances", content)
            same_study = stored["ParentStudy"] == image["ParentStudy"]
            kept += same_study and orthanc.ask(f"/instances/{stored['ID']}/file") == content
    return kept


def check(bundle: Path, count: int, seed: int) -> dict[str, Any]:
    """The document."""
    from outside_readers import PIXELMED_IS_PLEASED, pixelmed_lines

    with temporary_folder() as folder:
        options = mahtrt.PredictOptions(
            bundle,
            write_images(folder, count, seed),
            quantities="auto",
            threads=1,
            writers=[ReportWriter(folder / "reports")],
        )
        begun = time.perf_counter()
        result = mahtrt.predict(options)
        seconds = time.perf_counter() - begun
        read = [read_report(each, folder / "dcmqi.json") for each in result.predictions]
        pixelmed = pixelmed_lines(Path(result.predictions[0].extra["dicom_sr"]))
        kept = keep_in_orthanc(list(result.predictions), folder)
    keys = ("highdicom_px", "dcmtk_px", "dcmqi_px", "quantities")
    return {
        "schema": SCHEMA,
        "machine": plain(describe_machine()),
        "versions": package_versions(),
        "engine": result.engine,
        "images": count,
        "reports": len({each.extra["dicom_sr"] for each in result.predictions}),
        "ms_per_image": 1000 * seconds / count,
        "largest": {key: max(each[key] for each in read) for key in keys},
        "dicom3tools_faults": sorted({line for each in read for line in each["dicom3tools"]}),
        "pixelmed_accepts": pixelmed == PIXELMED_IS_PLEASED,
        "orthanc_keeps": kept,
    }


def main(arguments: list[str] | None = None) -> None:
    """Check, and write or print the document."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("bundle", type=Path, help="bundle of a cephalometric network")
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, help="file for the document; stdout without it")
    given = parser.parse_args(arguments)
    text = json.dumps(check(given.bundle, given.images, given.seed), indent=2) + "\n"
    if given.out is None:
        print(text, end="")
    else:
        write_text_atomic(given.out, text)


if __name__ == "__main__":
    main()
