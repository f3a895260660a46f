"""What a path holds, as entries: folders, CSV files, ISBI-2015 style trees.

Annotated coordinates are taken as they are written, x then y, pixel centres at integers counted
from 0. No reader decodes an image.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.file_dataset import Entry
from mahtrt.data.frames import is_image_file
from mahtrt.data.images import IMAGE_SUFFIXES
from mahtrt.data.limits import MOST_CELLS, MOST_IMAGES
from mahtrt.data.listing import (
    LONGEST_NAME,
    find_images,
    is_image_name,
    locate,
    points_from,
    read_text,
    same_count,
    too_many,
    unique,
)
from mahtrt.data.studies import passed_over_note
from mahtrt.errors import DataError

ISBI_SPACING_MM = (0.1, 0.1)
_ISBI_IMAGES, _ISBI_ANNOTATIONS = "RawImage", "AnnotationsByMD"


def read_folder(folder: Path, passed_over: Counter[str] | None = None) -> list[Entry]:
    """Every image below ``folder``, and every frame of it, named by its path within the folder.

    Args:
        passed_over: Gets how many DICOM objects of which kind are no images.

    Raises:
        DataError: There is none.
    """
    found = find_images(folder)
    entries = []
    for each in found.images:
        called = each.called(folder)
        for name, path in each.each_frame():
            entries.append(Entry(name, path, called=str(folder / name) if called else ""))
    if len(entries) > MOST_IMAGES:
        raise too_many(folder)
    if passed_over is not None:
        passed_over.update(found.passed_over)
    if not entries:
        others = passed_over_note(found.passed_over)
        raise DataError(
            str(folder),
            got=f"a folder without images{f' ({others})' if others else ''}",
            expected=f"DICOM images, or files ending in {', '.join(sorted(IMAGE_SUFFIXES))}",
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
    text = read_text(path)
    rows = numbered_rows(text, path)
    width = len(rows[0][1]) if rows else 0
    bases = [path.parent, path.parent / path.stem, path.parent / "images"]
    if rows and not _names_image(rows[0][1][0].strip(), bases):
        rows = rows[1:]
    if not rows:
        raise DataError(str(path), got="no rows", expected="a file name and its points per row")
    if width % 2 == 0:
        raise DataError(
            str(path), got=f"{width - 1} coordinates per row", expected="x and y for every point"
        )
    entries = []
    for number, row in rows:
        if len(row) != width:
            raise DataError(
                f"{path} row {number}",
                got=f"{len(row)} cells",
                expected=f"{width}, as in the first row",
            )
        where = f"{path} row {number}"
        points = _points_from_cells(row[1:], where) if width > 1 else None
        entries.append(Entry(*locate(row[0].strip(), bases, where), points))
    return unique(entries)


def _names_image(cell: str, bases: Sequence[Path]) -> bool:
    """Whether the first cell of a table names an image, and is not the head of a column."""
    if is_image_name(cell):
        return True
    return 0 < len(cell) <= LONGEST_NAME and any(is_image_file(base / cell) for base in bases)


def numbered_rows(text: str, path: Path) -> list[tuple[int, list[str]]]:
    """The rows of a CSV that hold anything, and the lines they are on.

    Raises:
        DataError: More cells or rows than a data set may hold, or a cell that is too long.
    """
    first_line = text.partition("\n")[0]
    delimiter = max(",;\t", key=first_line.count)  # a tie, as of no cells, gives the comma
    lines = text.splitlines()
    cells = len(lines) + text.count(delimiter)
    if cells > MOST_CELLS:
        raise DataError(str(path), got=f"{cells} cells", expected=f"at most {MOST_CELLS}")
    reader = csv.reader(lines, delimiter=delimiter)
    rows = []
    try:
        for row in reader:
            if any(map(str.strip, row)):
                rows.append((reader.line_num, row))
            if len(rows) > MOST_IMAGES:
                raise too_many(path)
    except csv.Error as error:
        where = f"{path} row {reader.line_num}"
        raise DataError(where, got=str(error), expected="cells of text and numbers") from error
    return rows


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
    return same_count(entries, str(root / _ISBI_ANNOTATIONS))


def _points_from_cells(cells: Sequence[str], where: str) -> NDArray[np.float32]:
    values = []
    for cell in cells:
        try:
            value = float(cell) if cell.strip() else math.nan
        except ValueError as error:
            raise DataError(where, got=repr(cell), expected="a coordinate in pixels") from error
        values.append(value)
    return points_from(values, where)


def _points_from_lines(path: Path) -> NDArray[np.float32]:
    """The leading lines ``x,y`` of an ISBI annotation; the classes that follow are left out."""
    pairs = []
    for line in read_text(path).splitlines():
        cells = line.split(",")
        if len(cells) != 2:
            break
        pairs.append(_points_from_cells(cells, str(path))[0])
    if not pairs:
        raise DataError(str(path), got="no points", expected="one line x,y per landmark")
    return np.stack(pairs)


def _isbi_root(folder: Path) -> Path:
    return folder.parent.parent if folder.parent.name == _ISBI_IMAGES else folder
