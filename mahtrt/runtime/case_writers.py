"""What ``predict`` offers to those who write a file for each case, such as a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mahtrt.data.dicom_spacing import SpacingChoice
from mahtrt.data.file_dataset import Entry
from mahtrt.measure.quantities import QuantityValue, Selection
from mahtrt.runtime.landmarks import Landmarks
from mahtrt.runtime.session import Session


@dataclass(frozen=True, slots=True, eq=False)
class CaseResult:
    """What was found in one case.

    Attributes:
        entry: The case; its ``path`` is the file of the image that the landmarks are of.
        stem: What names of the case's files begin with; no other case of the run has it.
        found: What was found, in pixels of that image.
        quantities: Clinical quantities, where they were asked for.
        quantity_points: Name of a quantity to the landmarks that it rests on.
        spacing: Where the image's spacing comes from, and in which plane it holds.
    """

    entry: Entry
    stem: str
    found: Landmarks
    quantities: tuple[QuantityValue, ...] = ()
    quantity_points: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    spacing: SpacingChoice = field(default_factory=SpacingChoice)


class CaseWriter(Protocol):
    """Writes a file for each case; the files of a run appear together (:mod:`mahtrt.atomic`)."""

    def begin(self, session: Session, bundle: Path, cases: Sequence[Entry]) -> None:
        """Refuse what cannot be written, before anything runs.

        Raises:
            MahtrtError: It cannot.
        """

    def check(self, case: Entry) -> None:
        """Refuse a case of which no file can be made, before anything runs.

        Raises:
            ImageError: It is one; it is left out where bad images are.
        """

    def write(self, case: CaseResult) -> Mapping[str, Any]:
        """Write the file of a case; what the JSON says of it.

        Raises:
            ImageError: No file can be made of it; nothing of it is written.
        """

    def notes(self) -> Iterator[str]:
        """What the user should know of the files, one sentence each."""


def points_of_quantities(selection: Selection, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Name of each quantity to the landmarks that it rests on, in the order of ``names``."""
    return {
        each.name: selection.quantities.landmarks_of(each, names) for each in selection.definitions
    }
