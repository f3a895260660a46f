"""Landmarks as a point list of 3D Slicer (``.mrk.json``), in millimetres, LPS.

The format is Slicer's own: Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.3.json.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from mahtrt.dicom.image_plane import ImagePlane
from mahtrt.runtime.landmarks import Landmarks

MARKUPS_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/"
    "Schema/markups-schema-v1.0.3.json#"
)


def markups_from_landmarks(found: Landmarks, plane: ImagePlane) -> str:
    """The text of a file of markups.

    A landmark without a finite place is in the list without a position, as Slicer has points that
    are still to be set. One that the network calls invisible is there, unselected.

    Args:
        found: Landmarks in pixels of the image.
        plane: Where these pixels lie.
    """
    places = plane.points_mm(found.points)
    markup = {
        "type": "Fiducial",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": False,
        "fixedNumberOfControlPoints": False,
        "labelFormat": "%N-%d",
        "lastUsedControlPointNumber": len(found.names),
        "controlPoints": [_point(found, i, places[i]) for i in range(len(found.names))],
    }
    document = {"@schema": MARKUPS_SCHEMA, "markups": [markup]}
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _point(found: Landmarks, index: int, place_mm: Any) -> dict[str, Any]:
    known = bool(np.isfinite(place_mm).all())
    visible = found.visible is None or bool(found.visible[index])
    confidence = float(found.confidence[index])
    return {
        "id": str(index + 1),
        "label": found.names[index],
        "description": f"confidence {confidence:.4f}" if np.isfinite(confidence) else "",
        "associatedNodeID": "",
        "position": [round(float(each), 6) for each in place_mm] if known else [0.0, 0.0, 0.0],
        "orientation": [-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0],
        "selected": visible and known,
        "locked": False,
        "visibility": True,
        "positionStatus": "defined" if known else "undefined",
    }
