"""``predict`` on DICOM: landmarks of every syntax and frame, and what is said about the image."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_files import write_dicom, write_patient_image
from tiny_bundle import write_tiny

from mahtrt.dicom.case_files import ReportWriter
from mahtrt.runtime.predict import PredictOptions, PredictResult, predict

FRAMES = np.random.default_rng(9).integers(0, 4096, (3, 48, 64)).astype(np.uint16)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("predict") / "tiny.mahtrt")


def found_in(bundle: Path, *images: Path, **options: Any) -> PredictResult:
    return predict(PredictOptions(bundle, images, **options))


def images_of(result: PredictResult) -> list[dict[str, Any]]:
    return json.loads(result.to_json())["images"]


def test_frames_are_images_with_names_and_pictures(bundle: Path, tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "run.dcm", FRAMES, NumberOfFrames=3, BitsStored=12, Modality="XA")
    images = images_of(found_in(bundle, path, overlay=tmp_path / "drawn"))
    assert [each["image"] for each in images] == [f"{path}#{n}" for n in (1, 2, 3)]
    assert images[1]["dicom"] == {
        "modality": "XA",
        "frame": 2,
        "frames": 3,
        "spacing": None,
        "spacing_plane": "unknown",
        "notes": ["no pixel spacing: nothing is measured in mm"],
    }
    assert sorted(each.name for each in (tmp_path / "drawn").iterdir()) == [
        f"run-frame{n}.overlay.png" for n in (1, 2, 3)
    ]
    (one,) = images_of(found_in(bundle, Path(f"{path}#2")))
    assert one["landmarks"] == images[1]["landmarks"]


def test_reports_are_of_frames(bundle: Path, tmp_path: Path) -> None:
    path = write_patient_image(tmp_path / "run.dcm", FRAMES, NumberOfFrames=3, BitsStored=12)
    writer = ReportWriter(tmp_path / "reports")
    predict(PredictOptions(bundle, [path], writers=[writer]))
    reports = [pydicom.dcmread(each) for each in sorted((tmp_path / "reports").iterdir())]
    assert len({each.SOPInstanceUID for each in reports}) == 3
    text = "\n".join(str(each) for each in reports)
    assert set(re.findall(r"Referenced Frame Number +IS: '?([0-9]+)", text)) == {"1", "2", "3"}


def test_the_source_of_the_spacing_is_told(bundle: Path, tmp_path: Path) -> None:
    fields = {"Modality": "DX", "ImagerPixelSpacing": [0.2, 0.2]}
    path = write_dicom(tmp_path / "a.dcm", FRAMES[0], BitsStored=12, **fields)
    result = found_in(bundle, path)
    (image,) = images_of(result)
    assert (image["spacing_mm"], image["spacing_source"]) == ([0.2, 0.2], "ImagerPixelSpacing")
    assert image["dicom"]["spacing_plane"] == "detector"
    assert any(f"{path}: Imager Pixel Spacing, at the detector" in note for note in result.notes)
    (image,) = images_of(given := found_in(bundle, path, spacing_mm=0.1))
    assert (image["spacing_mm"], image["spacing_source"]) == ([0.1, 0.1], "--spacing-mm")
    assert not [note for note in given.notes if "Imager" in note]
    (tmp_path / "spacing.json").write_text('{"spacing_mm": 0.3}')
    (image,) = images_of(found_in(bundle, path))
    assert (image["spacing_mm"], image["spacing_source"]) == ([0.3, 0.3], "spacing.json")
    (image,) = images_of(found_in(bundle, tmp_path))
    assert image["spacing_source"] == "spacing.json"


def test_two_spacings_that_disagree_are_told(bundle: Path, tmp_path: Path) -> None:
    fields = {"Modality": "DX", "ImagerPixelSpacing": [0.2, 0.2], "PixelSpacing": [0.15, 0.15]}
    path = write_dicom(tmp_path / "a.dcm", FRAMES[0], BitsStored=12, **fields)
    (note,) = [each for each in found_in(bundle, path).notes if "differ" in each]
    assert note.endswith(
        "Pixel Spacing 0.15 x 0.15, Imager Pixel Spacing 0.2 x 0.2 (mm); Pixel Spacing is taken"
    )


def test_a_note_names_some_of_many_images_once(bundle: Path, tmp_path: Path) -> None:
    write_dicom(tmp_path / "run", FRAMES, NumberOfFrames=3, BitsStored=12)
    write_dicom(tmp_path / "a.dcm", FRAMES[0], BitsStored=12, FieldOfViewHorizontalFlip="YES")
    notes = found_in(bundle, tmp_path).notes
    (spacing,) = [each for each in notes if "no pixel spacing" in each]
    assert ".dcm" in spacing
    assert "and 1 more" in spacing
    (flip,) = [each for each in notes if "flipped" in each]
    assert re.match(re.escape(f"{tmp_path}/") + r"[0-9a-f]{12}\.dcm: ", flip)
