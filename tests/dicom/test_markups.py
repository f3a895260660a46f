"""Points for 3D Slicer: where they lie, and what the file says."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from mahtrt.dicom.image_plane import plane_of_image
from mahtrt.dicom.markups import markups_from_landmarks
from mahtrt.runtime.landmarks import Landmarks

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")

# A sagittal plane, turned by a rotation whose cosines are exact: 3-4-5.
DIRECTIONS = [0.0, 0.6, 0.8, 0.0, -0.8, 0.6]
POSITION = [-12.5, 30.0, -40.0]


def header(**fields: Any) -> Any:
    dataset = pydicom.Dataset()
    for name, value in fields.items():
        setattr(dataset, name, value)
    return dataset


def found(*points: tuple[float, float], **more: Any) -> Landmarks:
    count = len(points)
    return Landmarks(
        points=np.array(points, np.float32).reshape(count, 2),
        confidence=np.full(count, 0.5, np.float32),
        spread=np.full(count, np.nan, np.float32),
        names=tuple(f"p{i}" for i in range(count)),
        **more,
    )


def test_points_of_an_image_in_the_patient_lie_where_dicom_says() -> None:
    image = header(
        ImagePositionPatient=POSITION, ImageOrientationPatient=DIRECTIONS, PixelSpacing=[2.0, 0.5]
    )
    plane = plane_of_image(image, None, (9.0, 9.0))
    assert plane.is_placed
    # By the matrix of PS3.3, equation C.7.6.2.1-1, which counts rows and columns from the centres.
    matrix = np.array(
        [[DIRECTIONS[i] * 0.5, DIRECTIONS[3 + i] * 2.0, POSITION[i]] for i in range(3)]
    )
    points = np.array([[0.0, 0.0], [10.0, 0.0], [3.25, 7.5]])
    expected = np.array([matrix @ [x, y, 1.0] for x, y in points])
    assert np.allclose(plane.points_mm(points), expected, atol=1e-12)


def test_a_frame_has_a_plane_of_its_own() -> None:
    def group(**fields: Any) -> Any:
        return header(**{name: [header(**values)] for name, values in fields.items()})

    frames = [
        group(PlanePositionSequence={"ImagePositionPatient": [0.0, 0.0, 5.0 * i]}) for i in range(3)
    ]
    shared = group(
        PlaneOrientationSequence={"ImageOrientationPatient": [1.0, 0, 0, 0, 1.0, 0]},
        PixelMeasuresSequence={"PixelSpacing": [1.0, 1.0]},
    )
    image = header(PerFrameFunctionalGroupsSequence=frames, SharedFunctionalGroupsSequence=[shared])
    assert plane_of_image(image, 3, None).origin_mm.tolist() == [0, 0, 10]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"ImagePositionPatient": POSITION, "PixelSpacing": [1.0, 1.0]},
        {
            "ImagePositionPatient": POSITION,
            "ImageOrientationPatient": [1.0, 0, 0, 1.0, 0, 0],
            "PixelSpacing": [1.0, 1.0],
        },
    ],
)
def test_an_image_without_a_place_is_its_own_frame(fields: dict[str, Any]) -> None:
    plane = plane_of_image(header(**fields), None, (2.0, 0.5))
    assert not plane.is_placed
    assert plane.points_mm(np.array([[4.0, 3.0]])).tolist() == [[2.0, 6.0, 0.0]]
    assert not plane_of_image(None, None, None).has_spacing


def test_what_slicer_reads() -> None:
    landmarks = found((1.0, 2.0), (np.nan, 0.0), visibility=np.array([0.1, 0.9], np.float32))
    text = markups_from_landmarks(landmarks, plane_of_image(None, None, (0.5, 0.25)))
    (markup,) = json.loads(text)["markups"]
    assert (markup["type"], markup["coordinateSystem"]) == ("Fiducial", "LPS")
    assert markup["coordinateUnits"] == "mm"
    hidden, unknown = markup["controlPoints"]
    assert hidden["label"] == "p0"
    assert hidden["position"] == [0.25, 1.0, 0.0]
    assert (hidden["selected"], hidden["positionStatus"]) == (False, "defined")
    assert unknown["positionStatus"] == "undefined"
