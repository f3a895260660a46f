"""The file of landmarks that the user's own pipeline gave: three forms of CSV.

    file,x0,y0,x1,y1,…           as the CSV of a data set; also without a header
    file,sella_x,sella_y,…       columns by the names of the landmarks, in any order
    image,landmark,x,y,…         a row per landmark, as ``mahtrt predict --csv`` writes it

Coordinates are in the pixels of the image, pixel centres at integers counted from 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.listing import MOST_COORDINATE_PX, is_image_name, read_text
from mahtrt.data.readers import numbered_rows
from mahtrt.errors import DataError, shown, some_of

Points = NDArray[np.float64]
_Row = tuple[int, list[str]]  # the line it is on, and its cells

FORMS = "file,x0,y0,x1,… or file,NAME_x,NAME_y,… or image,landmark,x,y (mahtrt predict --csv)"
_NUMBERED = re.compile(r"([xy])_?([0-9]{1,4})")
_NAMED = re.compile(r"(.+)[_. ]([xy])")
_FILE_COLUMNS = ("image", "file", "filename", "file_name", "path")


@dataclass(frozen=True, slots=True)
class Predictions:
    """What the file says.

    Attributes:
        source: The file.
        points: Name of the image to (K, 2) x, y, in the order of the network's landmarks.
        has_names: Whether the file names its landmarks; else their order decides.
    """

    source: str
    points: Mapping[str, Points]
    has_names: bool


def read_predictions(path: Path, landmarks: Sequence[str]) -> Predictions:
    """Read a file of predictions.

    Args:
        path: The CSV.
        landmarks: Names of the network's K landmarks, in its order.

    Raises:
        DataError: Unreadable, empty, of no known form, with another number of points or other
            landmarks than the network's, an image twice, or a coordinate that is missing or no
            finite number (names the row).
    """
    rows = numbered_rows(read_text(path), path)
    if not rows:
        raise DataError(str(path), got="an empty file", expected=f"predictions: {FORMS}")
    header, file = [_plain(cell) for cell in rows[0][1]], 0
    if is_image_name(rows[0][1][0].strip()):
        columns, rows = _numbered_columns(len(header) - 1, path), rows
    elif {"landmark", "x", "y"} <= set(header):
        return _from_long(rows[1:], header, landmarks, path)
    else:
        file = next((header.index(name) for name in _FILE_COLUMNS if name in header), 0)
        columns, rows = _columns(header, file, path), rows[1:]
    order = _order(list(columns), landmarks, path)
    points: dict[str, Points] = {}
    for number, cells in rows:
        where = f"{path} row {number}"
        if len(cells) != len(header):
            expected = f"{len(header)}, as in the first row"
            raise DataError(where, got=f"{len(cells)} cells", expected=expected)
        name = _image_name(cells[file], points, where)
        points[name] = np.array(
            [[_number(cells[at], where) for at in columns[key]] for key in order], np.float64
        )
    return _checked(path, points, not isinstance(order[0], int))


def _from_long(
    rows: Sequence[_Row], header: Sequence[str], landmarks: Sequence[str], path: Path
) -> Predictions:
    """A row per image and landmark."""
    known = {_plain(name): k for k, name in enumerate(landmarks)}
    file = next((header.index(name) for name in _FILE_COLUMNS if name in header), 0)
    landmark, x, y = (header.index(name) for name in ("landmark", "x", "y"))
    points: dict[str, Points] = {}
    for number, cells in rows:
        where = f"{path} row {number}"
        if len(cells) != len(header):
            expected = f"{len(header)}, as in the first row"
            raise DataError(where, got=f"{len(cells)} cells", expected=expected)
        if not cells[landmark].strip():
            continue  # a label
        k = known.get(_plain(cells[landmark]))
        if k is None:
            got = f"landmark {shown(cells[landmark].strip())}"
            raise DataError(where, got=got, expected=f"one of {', '.join(landmarks)}")
        found = points.setdefault(cells[file].strip(), np.full((len(landmarks), 2), np.nan))
        if not np.isnan(found[k]).all():
            raise DataError(where, got=f"{landmarks[k]} twice", expected="once for each image")
        found[k] = _number(cells[x], where), _number(cells[y], where)
    for name, found in points.items():
        lost = [landmarks[k] for k in np.flatnonzero(np.isnan(found).any(axis=1)).tolist()]
        if lost:
            raise DataError(
                str(path),
                got=f"no {some_of(lost)} for {name}",
                expected=f"the network's {len(landmarks)} landmarks of each image",
            )
    return _checked(path, points, has_names=True)


def _columns(header: Sequence[str], file: int, path: Path) -> dict[int | str, tuple[int, int]]:
    """Number or name of each landmark to the columns of its x and y; other columns are left out.

    Args:
        file: The column of the images' names.

    Raises:
        DataError: There is none, or one of the two is missing or twice there.
    """
    axes: dict[int | str, dict[str, int]] = {}
    for at, cell in enumerate(header):
        if at == file:
            continue
        numbered, named = _NUMBERED.fullmatch(cell), _NAMED.fullmatch(cell)
        if not numbered and not named:
            continue
        key, axis = (int(numbered[2]), numbered[1]) if numbered else (named[1], named[2])  # type: ignore[index]
        if axis in axes.setdefault(key, {}):
            raise DataError(str(path), got=f"two columns {cell!r}", expected="one")
        axes[key][axis] = at
    if not axes or len({type(key) for key in axes}) > 1:
        got = f"a header {shown(','.join(header))}"
        raise DataError(str(path), got=got, expected=FORMS)
    half = [f"{key}" for key, found in axes.items() if len(found) == 1]
    if half:
        got = f"one column for landmark {some_of(half)}"
        raise DataError(str(path), got=got, expected="x and y of each")
    return {key: (found["x"], found["y"]) for key, found in axes.items()}


def _numbered_columns(count: int, path: Path) -> dict[int | str, tuple[int, int]]:
    """Columns of a file without a header."""
    if count % 2 or not count:
        got = f"{count} coordinates per row"
        raise DataError(str(path), got=got, expected=f"x and y of each landmark: {FORMS}")
    return {k: (2 * k + 1, 2 * k + 2) for k in range(count // 2)}


def _order(keys: Sequence[int | str], landmarks: Sequence[str], path: Path) -> Sequence[int | str]:
    """The file's landmarks in the network's order: by name, or by number, from 0 or 1.

    Raises:
        DataError: Others than the network has, or another number of them.
    """
    count = len(landmarks)
    expected = f"{count}, the network's: {', '.join(landmarks)}"
    if len(keys) != count:
        raise DataError(str(path), got=f"{len(keys)} landmarks", expected=expected)
    if isinstance(keys[0], int):
        for first in (0, 1):
            if set(keys) == set(range(first, first + count)):
                return range(first, first + count)
        raise DataError(
            str(path),
            got=f"columns of landmarks {some_of([f'x{key}' for key in keys])}",
            expected=f"x0, y0 to x{count - 1}, y{count - 1}",
        )
    wanted = [_plain(name) for name in landmarks]
    unknown = [str(key) for key in keys if key not in wanted]
    if unknown:
        raise DataError(
            str(path),
            got=f"landmarks {some_of(unknown)}",
            expected=expected,
            fix="Name the columns like the network's landmarks, or x0, y0, … in their order.",
        )
    return wanted


def _image_name(cell: str, known: Mapping[str, Points], where: str) -> str:
    """The name of a row's image.

    Raises:
        DataError: None, or one that had a row already.
    """
    name = cell.strip()
    if not name:
        raise DataError(where, got="no file name", expected="the name of an image")
    if name in known:
        raise DataError(where, got=f"{shown(name)} again", expected="a row for each image, once")
    return name


def _number(cell: str, where: str) -> float:
    """A coordinate.

    Raises:
        DataError: Not a finite number, or one that no image has.
    """
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or abs(value) > MOST_COORDINATE_PX:
        raise DataError(where, got=shown(cell.strip()), expected="a coordinate in image pixels")
    return value


def _checked(path: Path, points: Mapping[str, Points], has_names: bool) -> Predictions:
    """The predictions, if there are any.

    Raises:
        DataError: There are none.
    """
    if not points:
        raise DataError(str(path), got="no predictions", expected=f"a row for each image: {FORMS}")
    return Predictions(str(path), points, has_names)


def _plain(name: str) -> str:
    """A column's or landmark's name, however it is written."""
    return re.sub(r"[ -]+", "_", name.strip().casefold())
