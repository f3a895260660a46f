"""Data sets: what ``--data``, ``--calib`` and ``--eval`` name, as samples decoded on use."""

from __future__ import annotations

import dataclasses
import importlib
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from mahtrt.data.cases import is_case_csv, is_case_folder, read_case_csv, read_case_folder
from mahtrt.data.coco import read_coco
from mahtrt.data.file_dataset import Entry, FileDataset, keep_readable, select_points
from mahtrt.data.frames import is_image_file, split_frame
from mahtrt.data.readers import is_isbi_tree, read_csv, read_folder, read_isbi
from mahtrt.data.sample import Dataset
from mahtrt.data.spacing import EXPECTED, Spacing, is_spacing, spacing_pair
from mahtrt.data.studies import passed_over_note
from mahtrt.errors import DataError, UsageError, shown
from mahtrt.parsing import MOST_DATA_SET_BYTES, read_json_file
from mahtrt.reading import Wanted

SPACING_FILE = "spacing.json"
SPACING_FORM = '{"spacing_mm": 0.1, "images": {"name": 0.1}}, or [row, column] for a number'
# Synthetic DATA: the name, and the class of (count, seed, points) that draws it.
PHANTOMS: Mapping[str, str] = {
    "phantom": "mahtrt.data.phantom:PhantomDataset",
    "phantom-chest": "mahtrt.data.pairs_phantom:ChestDataset",
    "phantom-pairs": "mahtrt.data.pairs_phantom:PairsDataset",
    "phantom-pose": "mahtrt.data.pose_phantom:PoseDataset",
    "phantom-spine": "mahtrt.data.spine_phantom:SpineDataset",
}
_PHANTOM = re.compile(r"(phantom(?:-[a-z]+)*)(?::([0-9]{1,20})(?:@([0-9]{1,20}))?)?")
_PHANTOM_COUNT = 64


def open_dataset(
    source: str | Path,
    *,
    points: Sequence[int] | None = None,
    spacing_mm: float | None = None,
    skip_bad: bool = False,
    limit: int | None = None,
    inputs: Sequence[str] = ("image",),
) -> Dataset:
    """Open a data set.

    Args:
        source: A folder of images, a CSV, an ISBI-2015 style tree, COCO keypoints JSON, or
            phantoms: a name of :data:`PHANTOMS`, with ``:N`` or ``:N@SEED`` for how many and
            which.
        points: Indices of the annotated points to give, in this order; all where None.
        spacing_mm: Millimetres per pixel of every image. Otherwise a ``spacing.json`` beside the
            images says (:func:`read_spacing_file`), or the data set, or the DICOM file itself.
        skip_bad: Decode every image once and leave out those that cannot be read; their names
            are the ``skipped`` of the data set. Otherwise such an image fails when it is used.
        limit: The most images to take, the first in order.
        inputs: Names of the network's inputs. For several, a folder has a folder for each, and a
            CSV a column (:mod:`mahtrt.data.cases`).

    Raises:
        DataError: Missing, empty, of no known kind, or with annotations that cannot be used.
    """
    if limit is not None and limit < 1:
        raise DataError("limit", got=str(limit), expected="at least 1")
    if spacing_mm is not None and not is_spacing(spacing_mm):
        raise DataError("--spacing-mm", got=shown(spacing_mm), expected=EXPECTED)
    if is_phantom(source):
        if spacing_mm is not None:
            raise DataError(str(source), got="a spacing", expected="none: phantoms know theirs")
        return _phantoms(str(source), points, limit)
    path = Path(source)
    passed_over: Counter[str] = Counter()
    entries = with_spacing(_read_entries(path, inputs, passed_over), path, spacing_mm)
    if points is not None:
        entries = select_points(entries, points, str(path))
    dataset = _file_dataset(str(source), entries, skip_bad=skip_bad, limit=limit)
    dataset.notes = (note,) if (note := passed_over_note(passed_over)) else ()
    return dataset


def is_phantom(source: str | Path) -> bool:
    """Whether a DATA names phantoms and not files."""
    match = _PHANTOM.fullmatch(str(source))
    return match is not None and match[1] in PHANTOMS


def read_spacing_file(path: Path) -> tuple[Spacing | None, dict[str, Spacing]]:
    """The spacing sidecar: ``{"spacing_mm": S, "images": {"name": S, …}}``, both optional.

    S is millimetres per pixel, or [row, column].

    Returns:
        The spacing of all images, and that of single ones by sample name.

    Raises:
        DataError: Unreadable, or not of this form.
    """
    document = read_json_file(path, Wanted(SPACING_FORM, DataError), most_bytes=MOST_DATA_SET_BYTES)
    return spacings_from_document(document, str(path))


def spacings_from_document(document: Any, where: str) -> tuple[Spacing | None, dict[str, Spacing]]:
    """What the JSON of a spacing sidecar says, as :func:`read_spacing_file` gives it.

    Args:
        where: Where it was read, for messages.

    Raises:
        DataError: It is of another form.
    """
    if not isinstance(document, Mapping) or set(document) - {"spacing_mm", "images"}:
        raise DataError(where, got="JSON of another form", expected=SPACING_FORM)
    images = document.get("images", {})
    if not isinstance(images, Mapping):
        raise DataError(where, got="'images' of another form", expected=SPACING_FORM)
    common = document.get("spacing_mm")
    return (
        None if common is None else _spacing_from_json(common, where),
        {str(name): _spacing_from_json(value, where) for name, value in images.items()},
    )


def spacing_beside(folder: Path) -> tuple[Spacing | None, dict[str, Spacing]]:
    """What the spacing sidecar of a folder says; nothing where no file has its name.

    Raises:
        DataError: What has the name cannot be read, or is not of this form.
    """
    sidecar = folder / SPACING_FILE
    return read_spacing_file(sidecar) if os.path.lexists(sidecar) else (None, {})


def check_spacing(spacing_mm: float) -> None:
    """Refuse millimetres per pixel that cannot be.

    Raises:
        UsageError: Not a finite number above 0.
    """
    if not is_spacing(spacing_mm):
        raise UsageError("--spacing-mm", got=shown(spacing_mm), expected=EXPECTED)


def _phantoms(source: str, points: Sequence[int] | None, limit: int | None) -> Dataset:
    match = _PHANTOM.fullmatch(source)
    assert match is not None
    count, seed = int(match[2] or _PHANTOM_COUNT), int(match[3] or 0)
    module, _, name = PHANTOMS[match[1]].partition(":")
    made = getattr(importlib.import_module(module), name)
    return cast(Dataset, made(count if limit is None else min(count, limit), seed, points))


def _read_entries(path: Path, inputs: Sequence[str], passed_over: Counter[str]) -> list[Entry]:
    suffix = path.suffix.lower()
    if os.path.isdir(path):  # unlike Path's own, no error about a name that cannot be
        if is_case_folder(path, inputs):
            return read_case_folder(path, inputs)
        return read_isbi(path) if is_isbi_tree(path) else read_folder(path, passed_over)
    if not os.path.exists(path):
        raise DataError(
            str(path),
            got="nothing there",
            expected="a folder of images, a CSV, COCO keypoints JSON, or synthetic images: "
            f"{', '.join(PHANTOMS)}, each with [:N[@SEED]]",
            fix="Check the path.",
        )
    if suffix in (".csv", ".tsv"):
        if is_case_csv(path, inputs):
            return read_case_csv(path, inputs)
        return read_csv(path)
    if suffix == ".json" and len(inputs) == 1:
        return read_coco(path)
    raise DataError(
        str(path),
        got=f"a file ending in {suffix!r}",
        expected="a folder of images, a CSV, or COCO keypoints JSON"
        if len(inputs) == 1
        else f"a folder with folders {', '.join(inputs)}, or a CSV with these columns",
    )


def with_spacing(entries: list[Entry], path: Path, spacing_mm: float | None = None) -> list[Entry]:
    """Entries with the spacing of each: the one given, or what a sidecar says, or their own.

    Args:
        path: The folder that the entries are of, or the file that lists them.

    Raises:
        DataError: The sidecar cannot be read, or is not of its form.
    """
    if spacing_mm is not None:
        every = (float(spacing_mm), float(spacing_mm))
        return [dataclasses.replace(entry, spacing_mm=every) for entry in entries]
    common, by_name = spacing_beside(path if path.is_dir() else path.parent)
    return [
        dataclasses.replace(
            entry, spacing_mm=_named(by_name, entry, path) or common or entry.spacing_mm
        )
        for entry in entries
    ]


def _named(by_name: Mapping[str, Spacing], entry: Entry, folder: Path) -> Spacing | None:
    """What a sidecar says of one image: by its name in the data set, or its path in the folder."""
    file, _ = split_frame(entry.path)
    within = file.relative_to(folder).as_posix() if file.is_relative_to(folder) else ""
    return by_name.get(entry.name) or by_name.get(within)


def _file_dataset(
    source: str, entries: list[Entry], *, skip_bad: bool, limit: int | None
) -> FileDataset:
    if skip_bad:
        good, skipped, facts = keep_readable(entries, limit)
        if not good:
            raise DataError(
                source,
                got=f"{len(skipped)} images of which none can be read",
                expected="at least one readable image",
            )
        return FileDataset(source, good, skipped=skipped, facts=facts)
    kept = entries[:limit]
    missing = [
        (entry, lost[0])
        for entry in kept
        if (lost := [path for path in entry.paths if not is_image_file(path)])
    ]
    if missing:
        raise DataError(
            source,
            got=f"no image {missing[0][0].name} ({len(missing)} of {len(kept)} missing)",
            expected=f"the file at {missing[0][1]}, or in a folder beside it named "
            "like the annotation file or 'images'",
            fix="Put the images there, or leave missing ones out with --skip-bad.",
        )
    return FileDataset(source, kept)


def _spacing_from_json(value: Any, where: str) -> Spacing:
    pair = value if isinstance(value, list) else [value, value]
    return spacing_pair(pair, where, error=DataError)
