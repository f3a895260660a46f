"""Cases of several images, or with maps and labels, as entries: folders, CSV files, lists of paths.

A folder of cases has one folder for each input of the network, named like the input, with images
of the same names in each (``baseline/17.png`` beside ``followup/17.dcm``), and ``map/`` where the
maps are known. A CSV of cases has a header: a column of files for each input, and optionally
``map`` (a gray image: black is 0, white is 1), ``label:NAME`` (1, 0 or empty), and x0, y0, x1, ….
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.file_dataset import Entry
from mahtrt.data.images import IMAGE_SUFFIXES
from mahtrt.data.limits import MOST_CELLS, MOST_IMAGES
from mahtrt.data.listing import find_images, locate, points_from, read_text, too_many, unique
from mahtrt.data.studies import FoundImage
from mahtrt.errors import DataError, some_of

MAP = "map"
_LABEL = "label:"
_COORDINATE = re.compile(r"([xy])(0|[1-9][0-9]{0,3})")


def is_case_folder(folder: Path, inputs: Sequence[str]) -> bool:
    """Whether a folder holds cases: it always does where a network takes several images."""
    if len(inputs) > 1:
        return True
    return (folder / inputs[0]).is_dir() and (folder / MAP).is_dir()


def is_case_csv(path: Path, inputs: Sequence[str]) -> bool:
    """Whether a CSV holds cases: one of a single image does where it has maps or labels."""
    header = set(_header(read_text(path)))
    annotated = MAP in header or any(cell.startswith(_LABEL) for cell in header)
    return len(inputs) > 1 or (inputs[0] in header and annotated)


def read_case_folder(folder: Path, inputs: Sequence[str]) -> list[Entry]:
    """The cases of a folder with one folder for each input.

    Raises:
        DataError: A folder is missing, or the folders do not hold images of the same names.
    """
    missing = [name for name in inputs if not (folder / name).is_dir()]
    if missing:
        raise DataError(
            str(folder),
            got=f"no folder {missing[0]!r}",
            expected=f"folders {', '.join(inputs)}, with images of the same names in each",
            fix="Name the folders like the inputs of the network, or give a CSV.",
        )
    entries = pair_folders([folder / name for name in inputs])
    if not (folder / MAP).is_dir():
        return entries
    first, maps = folder / inputs[0], _by_stem(folder / MAP)
    _check_same(first, _by_stem(first), folder / MAP, maps)
    return [
        replace(entry, map_path=maps[_stem(entry.path.relative_to(first).as_posix())].path)
        for entry in entries
    ]


def pair_folders(folders: Sequence[Path]) -> list[Entry]:
    """Cases of images with the same name (without its ending) in each of several folders.

    Raises:
        DataError: An image that another folder lacks, two of one name, or no image.
    """
    first, *others = tables = [_by_stem(folder) for folder in folders]
    for folder, table in zip(folders[1:], others, strict=True):
        _check_same(folders[0], first, folder, table)
    entries = []
    for stem, image in first.items():
        rest = [table[stem] for table in tables[1:]]
        called = [each.called(folder) for each, folder in zip((image, *rest), folders, strict=True)]
        paths = tuple(each.path for each in rest)
        entries.append(
            Entry(image.name, image.path, others=paths, called=called[0], called_others=called[1:])
        )
    return entries


def read_case_csv(path: Path, inputs: Sequence[str]) -> list[Entry]:
    """The cases of a CSV with a header.

    Raises:
        DataError: A column that is missing, unknown or twice there, or a row that does not fit.
    """
    text = read_text(path)
    header, rows = _header(text), _rows(text, path)
    _check_header(header, inputs, path)
    labels = [cell for cell in header if cell.startswith(_LABEL)]
    points = sum(cell.startswith("x") for cell in header if _COORDINATE.fullmatch(cell))
    bases = [path.parent, path.parent / path.stem, path.parent / "images"]
    entries = []
    for number, cells in rows:
        where = f"{path} row {number}"
        if len(cells) != len(header):
            expected = f"{len(header)}, as the header has"
            raise DataError(where, got=f"{len(cells)} cells", expected=expected)
        row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
        files = [locate(row[name], bases, where) for name in inputs]
        entries.append(
            Entry(
                *files[0],
                points_px=_points(row, points, where),
                others=tuple(file for _, file in files[1:]),
                map_path=locate(row[MAP], bases, where)[1] if row.get(MAP) else None,
                labels=_labels(row, labels, where),
                label_names=tuple(cell.removeprefix(_LABEL) for cell in labels),
            )
        )
    if not entries:
        raise DataError(str(path), got="no rows", expected="a row for each case")
    return unique(entries)


def cases_of_paths(paths: Sequence[Path], inputs: Sequence[str]) -> list[Entry]:
    """What a user names to be predicted, for a network of several inputs.

    Args:
        paths: A CSV of cases, a folder of cases, one folder for each input, or files: the images
            of the first case, of the second, and so on.

    Raises:
        DataError: None of these.
    """
    count, words = len(inputs), ", ".join(inputs)
    if len(paths) == 1 and paths[0].suffix.lower() in (".csv", ".tsv"):
        return read_case_csv(paths[0], inputs)
    if len(paths) == 1 and os.path.isdir(paths[0]):
        return read_case_folder(paths[0], inputs)
    if len(paths) == count and all(map(os.path.isdir, paths)):
        by_name = {path.name: path for path in paths}
        # Folders that are named like the inputs are theirs, in whatever order they are given.
        return pair_folders(
            [by_name[name] for name in inputs] if set(by_name) == {*inputs} else paths
        )
    if len(paths) % count or any(map(os.path.isdir, paths)):
        raise DataError(
            "images",
            got=f"{len(paths)} path(s)",
            expected=f"the images of a case one after the other ({words}), a folder of each, "
            "a folder that holds these, or a CSV with these columns",
        )
    groups = (paths[start : start + count] for start in range(0, len(paths), count))
    return [Entry(str(first), first, others=tuple(rest)) for first, *rest in groups]


def _by_stem(folder: Path) -> dict[str, FoundImage]:
    """The images of a folder by their path in it, without its ending."""
    found: dict[str, FoundImage] = {}
    for image in find_images(folder).images:
        stem = _stem(image.path.relative_to(folder).as_posix())
        if stem in found:
            names = (Path(each.name).name for each in (found[stem], image))
            raise DataError(str(folder), got=" and ".join(names), expected="one image of each name")
        found[stem] = image
    if not found:
        raise DataError(
            str(folder),
            got="a folder without images",
            expected=f"files ending in {', '.join(sorted(IMAGE_SUFFIXES))}",
        )
    return found


def _stem(name: str) -> str:
    return name[: len(name) - len(Path(name).suffix)]


def _check_same(
    folder: Path, images: Mapping[str, FoundImage], other: Path, others: Mapping[str, FoundImage]
) -> None:
    lacking = [_stem(images[stem].name) for stem in sorted(set(images) - set(others))]
    more = [_stem(others[stem].name) for stem in sorted(set(others) - set(images))]
    if not lacking and not more:
        return
    words = [f"{len(images)} image(s) in {folder.name} and {len(others)} in {other.name}"]
    words += [f"{other.name} lacks {some_of(lacking)}"] if lacking else []
    words += [f"{folder.name} lacks {some_of(more)}"] if more else []
    raise DataError(
        str(other), got="; ".join(words), expected="images of the same names in each folder"
    )


def _header(text: str) -> list[str]:
    """The cells of the first line; none where it holds no cells at all."""
    try:
        cells = next(csv.reader([_first_line(text)], delimiter=_delimiter(text)), [])
    except csv.Error:  # a cell of 128 KiB
        return []
    return [cell.strip() for cell in cells]


def _first_line(text: str) -> str:
    return next(iter(text.splitlines()), "")


def _delimiter(text: str) -> str:
    return max(",;\t", key=_first_line(text).count)


def _rows(text: str, path: Path) -> list[tuple[int, list[str]]]:
    lines = text.splitlines()
    cells = len(lines) + text.count(_delimiter(text))
    if cells > MOST_CELLS:
        raise DataError(str(path), got=f"{cells} cells", expected=f"at most {MOST_CELLS}")
    if len(lines) > MOST_IMAGES:
        raise too_many(path)
    reader = csv.reader(lines, delimiter=_delimiter(text))
    try:
        numbered = [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        where = f"{path} row {reader.line_num}"
        raise DataError(where, got=str(error), expected="cells of text and numbers") from error
    return numbered[1:]


def _check_header(header: Sequence[str], inputs: Sequence[str], path: Path) -> None:
    expected = (
        f"a header with {', '.join(inputs)}, and optionally {MAP}, {_LABEL}NAME, x0, y0, x1, …"
    )
    missing = [name for name in inputs if name not in header]
    twice = sorted({cell for cell in header if header.count(cell) > 1})
    known = {*inputs, MAP}
    unknown = [
        cell
        for cell in header
        if cell not in known and not cell.startswith(_LABEL) and not _COORDINATE.fullmatch(cell)
    ]
    nameless = [cell for cell in header if cell == _LABEL]
    for what, cells in (
        ("no column", missing),
        ("twice", twice),
        ("an unknown column", unknown),
        ("a label without a name,", nameless),
    ):
        if cells:
            raise DataError(str(path), got=f"{what} {cells[0]!r}", expected=expected)
    found = sorted(cell for cell in header if _COORDINATE.fullmatch(cell))
    wanted = sorted(f"{axis}{k}" for k in range((len(found) + 1) // 2) for axis in "xy")
    if found != wanted:
        raise DataError(
            str(path),
            got=f"columns {', '.join(found)}",
            expected="x and y of each point, counted from 0",
        )


def _points(row: Mapping[str, str], count: int, where: str) -> NDArray[np.float32] | None:
    if not count:
        return None
    cells = [row[f"{axis}{k}"] for k in range(count) for axis in "xy"]
    return points_from([_number(cell, where) for cell in cells], where)


def _labels(
    row: Mapping[str, str], columns: Sequence[str], where: str
) -> NDArray[np.float32] | None:
    if not columns:
        return None
    for column in columns:
        if row[column] not in ("0", "1", ""):
            raise DataError(
                f"{where}, {column}", got=repr(row[column]), expected="1, 0, or nothing"
            )
    return np.array([_number(row[column], where) for column in columns], np.float32)


def _number(cell: str, where: str) -> float:
    try:
        return float(cell) if cell else math.nan
    except ValueError as error:
        raise DataError(where, got=repr(cell), expected="a number") from error
