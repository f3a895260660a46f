"""COCO keypoints JSON as entries."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.file_dataset import Entry, natural_key
from mahtrt.data.limits import MOST_IMAGES
from mahtrt.data.listing import locate, points_from, same_count, too_many, unique
from mahtrt.errors import DataError
from mahtrt.parsing import MOST_DATA_SET_BYTES, read_json_file
from mahtrt.reading import Wanted

_SEEN = 2  # the flag of a keypoint that is labelled and can be seen; 1 is labelled and hidden


def read_coco(path: Path) -> list[Entry]:
    """COCO keypoints JSON; of several annotations of an image, the one with the largest area.

    Keypoints with visibility 0 are missing, and nobody knows whether they can be seen; 1 is a point
    that is hidden, 2 one that can be seen. Coordinates are used as written, counted from 0.
    Images without annotated keypoints are left out. Images lie beside the JSON, in a folder named
    like its stem, in ``images``, or in the same places one folder up.

    Raises:
        DataError: Not COCO, nothing annotated, or a wrong number of values.
    """
    images, annotations = _tables(path, "images", "annotations")
    names = {_image_id(image, "id", path): image.get("file_name") for image in images}
    chosen: dict[int | str, dict[str, Any]] = {}
    for annotation in annotations:
        keypoints = annotation.get("keypoints") or []
        if not isinstance(keypoints, list):
            raise DataError(_where(annotation, path), got=repr(keypoints)[:80], expected="a list")
        image_id = _image_id(annotation, "image_id", path) if any(keypoints) else None
        if image_id is None or image_id not in names:
            continue
        if image_id not in chosen or _area(annotation, path) > _area(chosen[image_id], path):
            chosen[image_id] = annotation
    if not chosen:
        raise DataError(str(path), got="no keypoints", expected="annotations with keypoints")
    bases = [
        base / inner
        for base in (path.parent, path.parent.parent)
        for inner in ("", path.stem, "images")
    ]
    entries = []
    for key in names:
        if key in chosen:
            points, visible = _keypoints(chosen[key], path)
            place = locate(names[key], bases, f"{path} image {key}")
            entries.append(Entry(*place, points, visible=visible))
    return unique(sorted(same_count(entries, str(path)), key=lambda e: natural_key(e.name)))


def _tables(path: Path, *names: str) -> list[list[dict[str, Any]]]:
    """The lists of tables of the document, by name."""
    wanted = Wanted("COCO: lists 'images' and 'annotations'", DataError)
    document = read_json_file(path, wanted, most_bytes=MOST_DATA_SET_BYTES)
    lists = [document.get(name) if isinstance(document, dict) else None for name in names]
    if not all(isinstance(v, list) and all(isinstance(x, dict) for x in v) for v in lists):
        raise wanted.refuse(path, "JSON of another kind")
    if any(len(values or ()) > MOST_IMAGES for values in lists):
        raise too_many(path)
    return [values or [] for values in lists]


def _image_id(table: dict[str, Any], field: str, path: Path) -> int | str:
    value = table.get(field)
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise DataError(
            f"{path} {field}", got=repr(value)[:80], expected="the number or name of an image"
        )
    return value


def _keypoints(
    annotation: dict[str, Any], path: Path
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Points (K, 2) and which of them can be seen (K,), NaN where they are not annotated."""
    where = _where(annotation, path)
    try:
        values = np.array(annotation["keypoints"], np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(where, got="keypoints that are no numbers", expected="x, y, v") from error
    if values.ndim != 1 or values.size % 3:
        raise DataError(where, got=f"{values.size} keypoint values", expected="x, y, v per point")
    triples = values.reshape(-1, 3)
    flags = triples[:, 2]
    triples[flags <= 0, :2] = math.nan
    points = points_from(triples[:, :2].ravel().tolist(), where)
    visible = np.where(np.isnan(points[:, 0]), math.nan, flags >= _SEEN)
    return points, visible.astype(np.float32)


def _area(annotation: dict[str, Any], path: Path) -> float:
    box = annotation.get("bbox") or (0, 0, 0, 0)
    try:
        return float(annotation.get("area") or box[2] * box[3])
    except (TypeError, ValueError, LookupError, OverflowError) as error:
        where = _where(annotation, path)
        raise DataError(where, got="an area or bbox of another kind", expected="numbers") from error


def _where(annotation: dict[str, Any], path: Path) -> str:
    return f"{path} annotation {str(annotation.get('id', '?'))[:40]}"
