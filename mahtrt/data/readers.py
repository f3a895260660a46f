"""What a path holds, as entries: folders, CSV files, ISBI-2015 style trees, COCO keypoints.

Annotated coordinates are taken as they are written, x then y, pixel centres at integers counted
from 0. No reader decodes an image.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.file_dataset import Entry, natural_key
from mahtrt.data.images import IMAGE_SUFFIXES
from mahtrt.errors import DataError
from mahtrt.parsing import DATA_SET, read_json_file
from mahtrt.reading import Wanted

ISBI_SPACING_MM = (0.1, 0.1)
_ISBI_IMAGES, _ISBI_ANNOTATIONS = "RawImage", "AnnotationsByMD"


def list_images(folder: Path) -> list[Path]:
    """Image files below a folder, by suffix, naturally sorted; hidden files are left out."""
    found = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    ]
    return sorted(found, key=lambda path: natural_key(path.relative_to(folder).as_posix()))


def read_folder(folder: Path) -> list[Entry]:
    """Every image below ``folder``, named by its path within it.

    Raises:
        DataError: There is none.
    """
    entries = [Entry(path.relative_to(folder).as_posix(), path) for path in list_images(folder)]
    if not entries:
        raise DataError(
            str(folder),
            got="a folder without images",
            expected=f"files ending in {', '.join(sorted(IMAGE_SUFFIXES))}",
            fix="Name the folder that holds the images.",
        )
    return entries


def read_csv(path: Path) -> list[Entry]:
    """A table with the file name in the first column, then x0, y0, x1, y1, … (or nothing).

    A first row whose first cell is not an image file name is a header. Cells are separated by
    commas, semicolons or tabs; an empty cell is a missing point. Images lie beside the CSV, in a
    folder named like its stem, or in ``images``.

    Raises:
        DataError: Unreadable, empty, ragged, or with cells that are no numbers (names the row).
    """
    text = _read_text(path)
    first_line = text.partition("\n")[0]
    delimiter = max(",;\t", key=first_line.count)  # a tie, as of no cells, gives the comma
    rows = [(n, row) for n, row in _numbered_rows(text, delimiter) if any(map(str.strip, row))]
    width = len(rows[0][1]) if rows else 0
    if rows and Path(rows[0][1][0].strip()).suffix.lower() not in IMAGE_SUFFIXES:
        rows = rows[1:]
    if not rows:
        raise DataError(str(path), got="no rows", expected="a file name and its points per row")
    if width % 2 == 0:
        raise DataError(
            str(path), got=f"{width - 1} coordinates per row", expected="x and y for every point"
        )
    bases = [path.parent, path.parent / path.stem, path.parent / "images"]
    entries = []
    for number, row in rows:
        if len(row) != width:
            raise DataError(
                f"{path} row {number}",
                got=f"{len(row)} cells",
                expected=f"{width}, as in the first row",
            )
        name = row[0].strip()
        points = _points_from_cells(row[1:], f"{path} row {number}") if width > 1 else None
        entries.append(Entry(name, _locate(name, bases), points))
    return _unique(entries)


def is_isbi_tree(folder: Path) -> bool:
    """Whether ``folder`` is an ISBI-2015 style tree, or one of the image folders inside one."""
    root = _isbi_root(folder)
    return (root / _ISBI_IMAGES).is_dir() and (root / _ISBI_ANNOTATIONS).is_dir()


def read_isbi(folder: Path) -> list[Entry]:
    """A tree of ``RawImage/*/NNN.bmp`` and ``AnnotationsByMD/*/NNN.txt``.

    The annotation files start with one line ``x,y`` per landmark (19 as published); a landmark is
    the mean over the annotators' folders (400_senior and 400_junior). Coordinates are used as
    published, counted from 0; spacing is 0.1 mm. ``folder`` is the tree, or one image folder
    within it (``…/RawImage/Test1Data``).

    Raises:
        DataError: No images, or an annotation that is missing, damaged, or of another length.
    """
    root = _isbi_root(folder)
    images = folder if folder != root else root / _ISBI_IMAGES
    doctors = sorted(path for path in (root / _ISBI_ANNOTATIONS).iterdir() if path.is_dir())
    if not doctors:
        raise DataError(
            str(root / _ISBI_ANNOTATIONS), got="no folder", expected="one folder per annotator"
        )
    entries = []
    for entry in read_folder(images):
        files = [doctor / f"{entry.path.stem}.txt" for doctor in doctors]
        points = [_points_from_lines(file) for file in files]
        if len({len(p) for p in points}) != 1:
            raise DataError(
                str(files[0]),
                got=" and ".join(str(len(p)) for p in points) + " points",
                expected="as many from each annotator",
            )
        mean = np.stack(points).astype(np.float64).mean(axis=0).astype(np.float32)
        entries.append(Entry(entry.name, entry.path, mean, ISBI_SPACING_MM))
    return _same_count(entries, str(root / _ISBI_ANNOTATIONS))


def read_coco(path: Path) -> list[Entry]:
    """COCO keypoints JSON; of several annotations of an image, the one with the largest area.

    Keypoints with visibility 0 are missing; coordinates are used as written, counted from 0.
    Images without annotated keypoints are left out. Images lie beside the JSON, in a folder named
    like its stem, in ``images``, or in the same places one folder up.

    Raises:
        DataError: Not COCO, nothing annotated, or a wrong number of values.
    """
    document = _coco_document(path)
    names = {image["id"]: str(image["file_name"]) for image in document["images"]}
    chosen: dict[Any, dict[str, Any]] = {}
    for annotation in document["annotations"]:
        image_id = annotation.get("image_id")
        if image_id not in names or not any(annotation.get("keypoints") or ()):
            continue
        if image_id not in chosen or _area(annotation) > _area(chosen[image_id]):
            chosen[image_id] = annotation
    if not chosen:
        raise DataError(str(path), got="no keypoints", expected="annotations with keypoints")
    bases = [
        base / inner
        for base in (path.parent, path.parent.parent)
        for inner in ("", path.stem, "images")
    ]
    entries = [
        Entry(names[key], _locate(names[key], bases), _points_from_coco(chosen[key], path))
        for key in names
        if key in chosen
    ]
    return _unique(sorted(_same_count(entries, str(path)), key=lambda e: natural_key(e.name)))


def _same_count(entries: list[Entry], source: str) -> list[Entry]:
    counts = {len(entry.points_px): entry for entry in entries if entry.points_px is not None}
    if len(counts) > 1:
        (one, first), (other, second) = sorted(counts.items())[:2]
        raise DataError(
            source,
            got=f"{one} points for {first.name} and {other} for {second.name}",
            expected="as many for each image",
        )
    return entries


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(str(path), got=str(error), expected="a readable UTF-8 file") from error


def _numbered_rows(text: str, delimiter: str) -> Iterable[tuple[int, list[str]]]:
    reader = csv.reader(text.splitlines(), delimiter=delimiter)
    return ((reader.line_num, row) for row in reader)


def _points_from_cells(cells: Sequence[str], where: str) -> NDArray[np.float32]:
    values = []
    for cell in cells:
        try:
            value = float(cell) if cell.strip() else math.nan
        except ValueError as error:
            raise DataError(where, got=repr(cell), expected="a coordinate in pixels") from error
        if math.isinf(value):
            raise DataError(where, got=repr(cell), expected="a coordinate in pixels")
        values.append(value)
    points = np.array(values, np.float32).reshape(-1, 2)
    points[np.isnan(points).any(axis=1)] = np.nan
    return points


def _points_from_lines(path: Path) -> NDArray[np.float32]:
    """The leading lines ``x,y`` of an ISBI annotation; the classes that follow are left out."""
    pairs = []
    for line in _read_text(path).splitlines():
        cells = line.split(",")
        if len(cells) != 2:
            break
        pairs.append(_points_from_cells(cells, str(path))[0])
    if not pairs:
        raise DataError(str(path), got="no points", expected="one line x,y per landmark")
    return np.stack(pairs)


def _coco_document(path: Path) -> dict[str, Any]:
    document = read_json_file(path, Wanted("COCO keypoints", DataError), limits=DATA_SET)
    lists = ("images", "annotations")
    if not isinstance(document, dict) or any(
        not isinstance(document.get(key), list)
        or not all(isinstance(item, dict) for item in document[key])
        for key in lists
    ):
        raise DataError(
            str(path), got="JSON of another kind", expected="COCO: lists 'images' and 'annotations'"
        )
    if any("id" not in image or "file_name" not in image for image in document["images"]):
        raise DataError(str(path), got="an image without id or file_name", expected="both")
    return document


def _points_from_coco(annotation: dict[str, Any], path: Path) -> NDArray[np.float32]:
    where = f"{path} annotation {annotation.get('id', '?')}"
    try:
        values = np.array(annotation["keypoints"], np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(where, got="keypoints that are no numbers", expected="x, y, v") from error
    if values.ndim != 1 or values.size % 3:
        raise DataError(where, got=f"{values.size} keypoint values", expected="x, y, v per point")
    points, visible = values.reshape(-1, 3)[:, :2].copy(), values[2::3] > 0
    points[~visible] = np.nan
    return points


def _area(annotation: dict[str, Any]) -> float:
    box = annotation.get("bbox") or (0, 0, 0, 0)
    return float(annotation.get("area") or box[2] * box[3])


def _isbi_root(folder: Path) -> Path:
    return folder.parent.parent if folder.parent.name == _ISBI_IMAGES else folder


def _locate(name: str, bases: Sequence[Path]) -> Path:
    """Where the image is; the first place where it should be, if it is nowhere."""
    return next((base / name for base in bases if (base / name).is_file()), bases[0] / name)


def _unique(entries: Sequence[Entry]) -> list[Entry]:
    """Entries with a number behind a name that comes again."""
    seen: dict[str, int] = {}
    unique = []
    for entry in entries:
        count = seen[entry.name] = seen.get(entry.name, 0) + 1
        name = entry.name if count == 1 else f"{entry.name}#{count}"
        unique.append(Entry(name, entry.path, entry.points_px, entry.spacing_mm))
    return unique
