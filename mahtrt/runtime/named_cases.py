"""The cases of a prediction: what its paths name, and what results and files call them."""

from __future__ import annotations

import itertools
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mahtrt.data.cases import cases_of_paths, is_case_folder, read_case_folder
from mahtrt.data.datasets import with_spacing
from mahtrt.data.file_dataset import Entry
from mahtrt.data.frames import frame_stem
from mahtrt.data.readers import read_folder
from mahtrt.data.studies import frames_of_file
from mahtrt.names import text_of_path
from mahtrt.runtime.told import Told


def cases_of_images(
    paths: Sequence[Path], inputs: Sequence[str], spacing_mm: float | None, told: Told
) -> list[Entry]:
    """A case of each image, or of as many as the network takes; maps and labels are not read."""
    if len(inputs) == 1:
        found = [case for path in paths for case in _cases_at(path, inputs, spacing_mm, told)]
    else:
        found = cases_of_paths(paths, inputs)
    return [replace(case, map_path=None) for case in found]


def _cases_at(
    path: Path, inputs: Sequence[str], spacing_mm: float | None, told: Told
) -> list[Entry]:
    """The frames of an image file, or every image below a folder, with the spacing it is given.

    Raises:
        DataError: A folder without images.
    """
    if not os.path.isdir(path):
        return [Entry(text_of_path(each), each) for each in frames_of_file(path)]
    if is_case_folder(path, inputs):
        cases = read_case_folder(path, inputs)
    else:
        cases = read_folder(path, told.passed_over)
    return with_spacing(cases, path, spacing_mm)


def image_name(case: Entry) -> str:
    """What results call the first image of a case."""
    return case.called or text_of_path(case.path)


def case_names(cases: Sequence[Entry]) -> list[str]:
    """Names that tell cases of several images apart; "" for each case of one image."""
    if not any(case.others for case in cases):
        return [""] * len(cases)
    wanted = (" + ".join(map(text_of_path, images)) for images in _telling(cases))
    return _told_apart(wanted, "#")


def file_stems(cases: Sequence[Entry]) -> list[str]:
    """What the names of a case's pictures begin with.

    Images of the same name in different folders get numbers.
    """
    return _told_apart(("+".join(map(frame_stem, images)) for images in _telling(cases)), "-")


def _telling(cases: Sequence[Entry]) -> Iterator[tuple[Path, ...]]:
    """The images that name a case: its first, or all of them where others begin with the same.

    A path that hides nobody stays as it is: its bytes need not be text.
    """
    counts = Counter(case.path for case in cases)
    for case in cases:
        called = (case.called, *(case.called_others or [""] * len(case.others)))
        images = zip(called, (case.path, *case.others), strict=True)
        shown = tuple(Path(name) if name else path for name, path in images)
        yield shown if counts[case.path] > 1 else shown[:1]


def _told_apart(names: Iterable[str], mark: str) -> list[str]:
    """Names with a mark and a number behind those that were there before."""
    taken: dict[str, None] = {}
    numbers: defaultdict[str, Iterator[int]] = defaultdict(lambda: itertools.count(2))
    for name in names:
        free = name
        while free in taken:
            free = f"{name}{mark}{next(numbers[name])}"
        taken[free] = None
    return list(taken)
