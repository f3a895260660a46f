"""Rows of predictions and images of DATA, brought together by their names."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath, PureWindowsPath

from mahtrt.errors import DataError, some_of
from mahtrt.runtime.expectation.predictions import Points, Predictions

_Name = Callable[[str], str]


def matched(predictions: Predictions, images: Sequence[str]) -> list[Points]:
    """The predicted points of each image, in the order of the images.

    Names are compared as they are written; else below the folder that all of them share; else
    without folders; else also without the ending, as of images that were converted. The first of
    these by which each image has one row, and each row one image, decides.

    Raises:
        DataError: Images without a row, rows without an image, or names that fit several.
    """
    rows = list(predictions.points)
    for name_of in (_slashes, None, _file_name, _stem):
        theirs, ours = (_named(names, name_of) for names in (rows, images))
        if set(theirs) == set(ours) and len(theirs) == len(rows) and len(ours) == len(images):
            return [predictions.points[rows[theirs[name]]] for name in ours]
    raise _refused(predictions.source, rows, images)


def _named(names: Sequence[str], name_of: _Name | None) -> dict[str, int]:
    """Each name, in some form, to its place; of equal ones the last."""
    plain = [_slashes(name) for name in names]
    if name_of is None:
        folders = [posixpath.dirname(name) for name in plain]
        shared = posixpath.commonpath(folders) if _alike(plain) else ""
        return {name[len(shared) :].lstrip("/"): place for place, name in enumerate(plain)}
    return {name_of(name): place for place, name in enumerate(plain)}


def _alike(names: Sequence[str]) -> bool:
    """Whether names can share a folder: absolute paths share none with others, nor do drives."""
    return len({PureWindowsPath(name).anchor.lower() for name in names}) == 1


def _slashes(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./")


def _file_name(name: str) -> str:
    return PurePosixPath(name).name


def _stem(name: str) -> str:
    return PurePosixPath(name).stem


def _refused(source: str, rows: Sequence[str], images: Sequence[str]) -> DataError:
    """Why rows and images do not belong together."""
    theirs, ours = (
        {_stem(_slashes(name)): name for name in rows},
        {_stem(_slashes(name)): name for name in images},
    )
    lacking = [name for stem, name in ours.items() if stem not in theirs]
    more = [name for stem, name in theirs.items() if stem not in ours]
    words = [f"{len(rows)} image(s) where DATA has {len(images)}"]
    words += [f"no row for {some_of(lacking)}"] if lacking else []
    words += [f"rows for {some_of(more)}, which DATA lacks"] if more else []
    words += ["names that fit several images"] if not lacking and not more else []
    return DataError(
        source,
        got="; ".join(words),
        expected="one row for each image of DATA, by its file name",
        fix="Give --data the images that the file is of, and no others.",
    )
