"""A data set of image files: entries that a reader listed, decoded one at a time on use."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.facts import Facts
from mahtrt.data.images import read_image
from mahtrt.data.sample import Sample
from mahtrt.data.screening import note_facts
from mahtrt.data.spacing import Spacing
from mahtrt.errors import DataError, ImageError
from mahtrt.names import text_of_path


@dataclass(frozen=True, slots=True)
class Entry:
    """A case that a reader found.

    Attributes:
        name: Name of the sample.
        path: The file of its first image, or a frame of it (:mod:`mahtrt.data.frames`).
        points_px: (K, 2) with NaN where missing, None without annotations.
        spacing_mm: What the data set says, None where only the file could know.
        visible: (K,) as in :class:`mahtrt.data.sample.Sample`, None where the data set has none.
        others: Files of the case's further images.
        map_path: Gray image of the map that belongs to the first image; None without.
        labels: (L,) as in :class:`mahtrt.data.sample.Sample`, None where the data set has none.
        label_names: L names, likewise.
        called: What messages and results call the first image; "" for its path.
        called_others: Likewise the others; empty where all are called by their paths.
    """

    name: str
    path: Path
    points_px: NDArray[np.float32] | None = None
    spacing_mm: Spacing | None = None
    visible: NDArray[np.float32] | None = None
    others: tuple[Path, ...] = ()
    map_path: Path | None = None
    labels: NDArray[np.float32] | None = None
    label_names: tuple[str, ...] = ()
    called: str = ""
    called_others: Sequence[str] = ()

    @property
    def names_of_others(self) -> list[str]:
        """What messages and results call the further images."""
        called = self.called_others or [""] * len(self.others)
        pairs = zip(called, self.others, strict=True)
        return [name or text_of_path(path) for name, path in pairs]

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every file of the case."""
        maps = () if self.map_path is None else (self.map_path,)
        return (self.path, *self.others, *maps)

    def read(self) -> Sample:
        """The case, decoded.

        Raises:
            ImageError: An image cannot be read, or the map has another size than the first image.
        """
        first = read_image(self.path, self.called)
        image, own_spacing = first.pixels, first.spacing_mm
        return Sample(
            self.name,
            image,
            self.points_px,
            self.spacing_mm or own_spacing,
            others=tuple(
                read_image(path, name).pixels
                for path, name in zip(self.others, self.names_of_others, strict=True)
            ),
            visible=self.visible,
            target_map=None if self.map_path is None else _read_map(self.map_path, image),
            labels=self.labels,
            label_names=self.label_names,
            dicom=first.dicom,
        )


class FileDataset:
    """Entries as samples; an image lives in memory only while its caller holds it.

    Attributes:
        source: What the user gave.
        skipped: Names of images that could not be read and were left out on request.
        facts: What decoding images has told so far.
        notes: What the user should know of what the source holds beside images.
    """

    def __init__(
        self,
        source: str,
        entries: Sequence[Entry],
        *,
        skipped: tuple[str, ...] = (),
        facts: Facts | None = None,
    ) -> None:
        self.source, self.skipped, self.facts = source, skipped, facts or Facts()
        self.notes: tuple[str, ...] = ()
        self._entries = tuple(entries)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(entry.name for entry in self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int, /) -> Sample:
        """Decode one case.

        Raises:
            ImageError: An image cannot be read.
        """
        return self._entries[index].read()

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


def _read_map(path: Path, image: NDArray[np.generic]) -> NDArray[np.float32]:
    """A gray image as a map (1, H, W) from 0, black, to 1, white."""
    values = read_image(path).pixels
    if values.shape != image.shape[:2]:
        rows, columns = image.shape[:2]
        raise ImageError(
            str(path),
            got=f"shape {values.shape}",
            expected=f"a gray image of {columns}x{rows} pixels, as its first image",
        )
    top = np.iinfo(values.dtype).max  # type: ignore[type-var]
    return (values.astype(np.float32) / np.float32(top))[None]


def keep_readable(
    entries: Sequence[Entry], limit: int | None = None
) -> tuple[list[Entry], tuple[str, ...], Facts]:
    """Decode every entry once.

    Returns:
        The entries that can be read (at most ``limit``), the names of the others, and what the
        images told.
    """
    good: list[Entry] = []
    skipped: list[str] = []
    facts = Facts()
    for entry in entries:
        if limit is not None and len(good) == limit:
            break
        try:
            sample = entry.read()
        except ImageError:
            skipped.append(entry.name)
        else:
            good.append(entry)
            note_facts(facts, entry.name, sample.images)
    return good, tuple(skipped), facts


def select_points(entries: Sequence[Entry], points: Sequence[int], source: str) -> list[Entry]:
    """The entries with some of their annotated points, by index and in the order of ``points``.

    Raises:
        DataError: No annotations, or no such point.
    """
    chosen, selected = list(points), []
    for entry in entries:
        if entry.points_px is None:
            raise DataError(
                source, got="no annotations", expected="points to select", fix="Leave points out."
            )
        count = len(entry.points_px)
        wrong = [index for index in points if not 0 <= index < count]
        if wrong or not points:
            raise DataError(
                source,
                got=f"point {wrong[0]}" if wrong else "an empty selection of points",
                expected=f"indices from 0 to {count - 1}",
            )
        visible = None if entry.visible is None else entry.visible[chosen]
        selected.append(replace(entry, points_px=entry.points_px[chosen], visible=visible))
    return selected


def natural_key(name: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """Sorts ``2.png`` before ``10.png``, and the same on every file system."""
    pieces = re.split(r"([0-9]+)", name)
    # The odd pieces are the numbers; the name itself decides between "1.png" and "01.png".
    keys = ((0, int(p), "") if i % 2 else (1, 0, p.casefold()) for i, p in enumerate(pieces))
    return tuple(keys), name
