"""Which spacing counts (PS3.3 10.7.1), and what is said about it."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset

from mahtrt.data.dicom_facts import facts_from_dataset
from mahtrt.data.dicom_spacing import SpacingChoice, choose_spacing

DX, CT = {"Modality": "DX"}, {"Modality": "CT"}
FLAT = {"ImagerPixelSpacing": [0.3, 0.15]}
FACTOR = {"EstimatedRadiographicMagnificationFactor": 1.5}
DIVIDED = "ImagerPixelSpacing / EstimatedRadiographicMagnificationFactor"


def chosen(**fields: object) -> SpacingChoice:
    dataset = Dataset()
    for name, value in fields.items():
        setattr(dataset, name, value)
    return choose_spacing(dataset)


@pytest.mark.parametrize(
    ("fields", "spacing", "source", "plane", "told"),
    [
        # Projection, calibrated: the values differ, or the type says so.
        ({**DX, **FLAT, "PixelSpacing": [0.2, 0.1]}, (0.2, 0.1), "PixelSpacing", "patient",
         "pixel spacings that differ: Pixel Spacing 0.2 x 0.1, Imager Pixel Spacing 0.3 x 0.15"),
        ({**DX, **FLAT, "PixelSpacing": [0.3, 0.15], "PixelSpacingCalibrationType": "GEOMETRY"},
         (0.3, 0.15), "PixelSpacing", "patient", ""),
        ({**DX, "PixelSpacing": [0.2, 0.1], "PixelSpacingCalibrationType": "FIDUCIAL"},
         (0.2, 0.1), "PixelSpacing", "patient", ""),
        # Projection, not calibrated: Pixel Spacing repeats what is at the detector.
        ({**DX, **FLAT, **FACTOR, "PixelSpacing": [0.3, 0.15]}, (0.2, 0.1), DIVIDED, "patient",
         "divided by the stated magnification 1.5"),
        ({**DX, **FLAT, "PixelSpacing": [0.3, 0.1501]}, (0.3, 0.15), "ImagerPixelSpacing",
         "detector", "at the detector: lengths in the patient are smaller"),
        ({**DX, **FLAT}, (0.3, 0.15), "ImagerPixelSpacing", "detector", "at the detector"),
        ({**DX, **FLAT, **FACTOR}, (0.2, 0.1), DIVIDED, "patient", "magnification 1.5"),
        ({**DX, **FLAT, "EstimatedRadiographicMagnificationFactor": 0.5}, (0.3, 0.15),
         "ImagerPixelSpacing", "detector", "at the detector"),
        # Projection, and nobody says which.
        ({**DX, "PixelSpacing": [0.2, 0.1]}, (0.2, 0.1), "PixelSpacing", "unknown",
         "does not tell whether it holds in the patient"),
        ({"Modality": "CR", "PixelSpacing": [0.1, 0.1], "NominalScannedPixelSpacing": [0.1, 0.1]},
         (0.1, 0.1), "NominalScannedPixelSpacing", "detector", "Nominal Scanned Pixel Spacing"),
        # Tomography: Pixel Spacing is in the patient, whatever else is there.
        ({**CT, "PixelSpacing": [0.7, 0.7]}, (0.7, 0.7), "PixelSpacing", "patient", ""),
        ({**CT, **FLAT, "PixelSpacing": [0.7, 0.7]}, (0.7, 0.7), "PixelSpacing", "patient",
         "Pixel Spacing is taken"),
        # Neither.
        ({"PixelSpacing": [0.2, 0.1]}, (0.2, 0.1), "PixelSpacing", "unknown", ""),
        ({"NominalScannedPixelSpacing": [0.1, 0.1]}, (0.1, 0.1), "NominalScannedPixelSpacing",
         "unknown", ""),
        # None that can be.
        ({**DX}, None, "", "unknown", "no pixel spacing: nothing is measured in mm"),
        ({**DX, "PixelSpacing": [0, 0]}, None, "", "unknown", "Pixel Spacing is ignored"),
        ({**DX, **FLAT, "PixelSpacing": [-1, 2]}, (0.3, 0.15), "ImagerPixelSpacing", "detector",
         "Pixel Spacing is ignored"),
    ],
)  # fmt: skip
def test_rules(
    fields: dict[str, object],
    spacing: tuple[float, float] | None,
    source: str,
    plane: str,
    told: str,
) -> None:
    found = chosen(**fields)
    assert found.spacing_mm == (pytest.approx(spacing) if spacing else None)
    assert (found.source, found.plane) == (source, plane)
    if told:
        assert told in "; ".join(found.notes)
    else:
        assert found.notes == ()


@pytest.mark.parametrize("modality", ["CR", "DX", "MG", "RF", "XA", "PX", "IO"])
def test_every_projection_follows_the_same_rule(modality: str) -> None:
    assert chosen(Modality=modality, **FLAT, **FACTOR).source == DIVIDED


def test_orientation_is_carried_and_told() -> None:
    dataset = Dataset()
    dataset.Modality = "DX"
    dataset.PatientOrientation = ["L", "F"]
    dataset.FieldOfViewRotation, dataset.FieldOfViewHorizontalFlip = 90, "YES"
    facts = facts_from_dataset(dataset, 1, 1)
    assert facts.to_dict()["orientation"] == {
        "patient": ["L", "F"],
        "rotation_deg": 90,
        "flipped": True,
    }
    assert "rotated by 90 degrees and flipped left to right" in facts.orientation.notes[0]
    dataset.FieldOfViewRotation, dataset.FieldOfViewHorizontalFlip = 0, "NO"
    assert facts_from_dataset(dataset, 1, 1).orientation.notes == ()


@pytest.mark.filterwarnings("ignore")
def test_nothing_but_known_values_is_carried() -> None:
    dataset = Dataset()
    dataset.Modality = "MUELLER"
    dataset.PatientOrientation = ["MUELLER", "HANS"]
    dataset.FieldOfViewHorizontalFlip = "MUELLER"
    dataset.PixelSpacingCalibrationType = "MUELLER"
    dataset.add_new("FieldOfViewRotation", "LO", "MUELLER")
    dataset.add_new("PixelSpacing", "LO", ["MUELLER", "HANS"])
    dataset.add_new("ImageOrientationPatient", "LO", ["MUELLER"] * 6)
    told = str(facts_from_dataset(dataset, 1, 1).to_dict())
    assert "MUELLER" not in told
    assert "HANS" not in told
