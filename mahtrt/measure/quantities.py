"""Clinical quantities of landmarks: angles, distances and ratios that a file defines.

A file names points, the spellings under which networks know them, and quantities of these points
with their unit and source (``docs/quantities.md``; :mod:`.quantity_file` reads it). What is
computed lies in :mod:`.quantity_kinds`. Pure numpy, so that every part of mahtrt can use it.

Points are moved to millimetres before anything is computed, so that pixels that are not square
change no angle. Without a pixel spacing, square pixels are assumed for angles and ratios, and what
is in millimetres is NaN.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mahtrt.measure.quantity_kinds import (
    KindName,
    Unit,
    from_points,
    from_quantities,
    intersection,
    midpoint,
)
from mahtrt.schema import plain

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Definition:
    """One quantity, as its file defines it.

    Attributes:
        name: Unique within its file.
        kind: One of :data:`mahtrt.measure.quantity_kinds.KINDS`.
        unit: ``deg``, ``mm`` or ``ratio``.
        source: The publication that defines it.
        points: Names of the points that the kind takes, in its order.
        of: Names of the quantities that it is made of, which are defined before it.
        positive_turn: Three points; passing them in their order turns in the positive sense.
        away_from: The point that lies on the negative side.
        about: A remark for people.
        intermediate: Whether it is only there for others, and not reported.
    """

    name: str
    kind: KindName
    unit: Unit
    source: str
    points: tuple[str, ...] = ()
    of: tuple[str, ...] = ()
    positive_turn: tuple[str, ...] = ()
    away_from: str = ""
    about: str = ""
    intermediate: bool = False

    @property
    def sign_points(self) -> tuple[str, ...]:
        """The points that give a sign."""
        return (*self.positive_turn, *((self.away_from,) if self.away_from else ()))


@dataclass(frozen=True, slots=True)
class Constructed:
    """A point that is made of others: their ``midpoint``, or the ``intersection`` of two lines."""

    name: str
    kind: Literal["midpoint", "intersection"]
    points: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A quantity that cannot be measured, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class QuantityValue:
    """One quantity of one image; NaN where it cannot be measured."""

    name: str
    unit: Unit
    value: float


@dataclass(frozen=True, slots=True)
class Quantities:
    """The quantities of a file.

    Attributes:
        file: Name of the file.
        title: What they are.
        points: Name of each point to the spellings under which networks know it.
        constructed: Points made of others, each of what comes before it.
        definitions: The quantities, each of what comes before it.
    """

    file: str
    title: str
    points: Mapping[str, tuple[str, ...]]
    definitions: tuple[Definition, ...]
    constructed: tuple[Constructed, ...] = ()

    def measure(
        self,
        points_px: NDArray[np.floating],
        names: Sequence[str],
        spacing_mm: tuple[float, float] | None = None,
    ) -> dict[str, float]:
        """The quantities of one image.

        Args:
            points_px: (K, 2) x, y in the image's pixels.
            names: K names of the landmarks.
            spacing_mm: (row, column) millimetres per pixel, None where unknown.

        Returns:
            Name of every quantity that is reported to its value; NaN where a point is absent or
            not finite, a line has no length, or the spacing that it needs is unknown.
        """
        spacing = (np.nan, np.nan) if spacing_mm is None else spacing_mm
        many = self.measure_many(np.asarray(points_px)[None], names, np.array([spacing]))
        return {name: float(values[0]) for name, values in many.items()}

    def measure_many(
        self,
        points_px: NDArray[np.floating],
        names: Sequence[str],
        spacing_mm: NDArray[np.floating],
    ) -> dict[str, Floats]:
        """The quantities of N images: name to (N,), as :meth:`measure` gives them.

        Args:
            points_px: (N, K, 2) x, y in each image's pixels.
            spacing_mm: (N, 2) as (row, column), NaN where unknown.
        """
        spacing = np.asarray(spacing_mm, np.float64)
        spaced = np.asarray(np.isfinite(spacing).all(axis=1))  # (N,)
        scale = np.where(spaced[:, None], spacing, 1.0)[:, None, ::-1]  # (row, column) -> (x, y)
        placed = np.asarray(points_px, np.float64) * scale
        points = self._points(placed, names)
        values: dict[str, Floats] = {}
        turns = self.turns()
        for each in self.definitions:
            if each.of:
                parts, turn = [values[name] for name in each.of], each.name in turns
                values[each.name] = from_quantities(each.kind, parts, turn=turn)
            else:
                values[each.name] = _of_points(each, points, len(placed))
        return {
            each.name: np.where(spaced, values[each.name], np.nan)
            if each.unit == "mm"
            else values[each.name]
            for each in self.definitions
            if not each.intermediate
        }

    def select(self, names: Sequence[str]) -> Selection:
        """Which quantities landmarks of these names allow, and why not the others."""
        reasons = self._absent(names)
        measured, skipped = [], []
        for each in self.definitions:
            needed = (*each.points, *each.sign_points, *(f"of {other}" for other in each.of))
            why = _joined(reasons, needed)
            if why:
                reasons[f"of {each.name}"] = why
            if each.intermediate:
                continue
            if why:
                skipped.append(Skipped(each.name, why))
            else:
                measured.append(each)
        return Selection(self, tuple(measured), tuple(skipped))

    def turns(self) -> frozenset[str]:
        """The angles of which -180 and 180 degrees are the same: signed ones, and those of them."""
        found: set[str] = set()
        for each in self.definitions:
            if each.positive_turn or (each.unit == "deg" and not found.isdisjoint(each.of)):
                found.add(each.name)
        return frozenset(found)

    def landmark_points(self, definition: Definition) -> tuple[str, ...]:
        """The points of the file that a quantity rests on, in the order of the file."""
        needed = set(self._parts((definition.name,)))
        for each in reversed(self.constructed):
            if each.name in needed:
                needed |= set(each.points)
        return tuple(point for point in self.points if point in needed)

    def landmarks_of(self, definition: Definition, names: Sequence[str]) -> tuple[str, ...]:
        """The landmarks that a quantity rests on, of those of these names, in the file's order."""
        places = self._places(names)
        points = self.landmark_points(definition)
        return tuple(names[i] for point in points for i in places[point])

    def _parts(self, names: Iterable[str]) -> Iterator[str]:
        """Every point, constructed or not, that quantities name, and those that they are of."""
        by_name = {each.name: each for each in self.definitions}
        for name in names:
            each = by_name[name]
            yield from (*each.points, *each.sign_points)
            yield from self._parts(each.of)

    def _places(self, names: Sequence[str]) -> dict[str, list[int]]:
        """Name of each point to the landmarks that are called by it or one of its spellings."""
        spelled = [spelling(name) for name in names]
        return {
            point: [i for i, name in enumerate(spelled) if name in accepted]
            for point, others in self.points.items()
            for accepted in [{spelling(each) for each in (point, *others)}]
        }

    def _points(self, placed: Floats, names: Sequence[str]) -> dict[str, Floats]:
        """Every point that there is exactly once: name to (N, 2)."""
        found = {
            point: placed[:, places[0]]
            for point, places in self._places(names).items()
            if len(places) == 1
        }
        for each in self.constructed:
            if all(point in found for point in each.points):
                parts = [found[point] for point in each.points]
                found[each.name] = _CONSTRUCT[each.kind](parts)
        return found

    def _absent(self, names: Sequence[str]) -> dict[str, str]:
        """Why there is no such point, for each of those that landmarks of these names lack."""
        reasons: dict[str, str] = {}
        for point, places in self._places(names).items():
            if not places:
                reasons[point] = f"no landmark is {point}"
            elif len(places) > 1:
                several = " and ".join(names[i] for i in places)
                reasons[point] = f"the landmarks {several} are both {point}"
        for each in self.constructed:
            why = _joined(reasons, each.points)
            if why:
                reasons[each.name] = why
        return reasons


@dataclass(frozen=True, slots=True)
class Selection:
    """Which quantities of a file are measured.

    Attributes:
        definitions: Those that are, in the file's order.
        skipped: The others, with the reason.
    """

    quantities: Quantities
    definitions: tuple[Definition, ...]
    skipped: tuple[Skipped, ...] = ()

    def without_mm(self) -> Selection:
        """What remains where no image has a pixel spacing."""
        reason = "it is in mm, and no image has a pixel spacing"
        gone = (Skipped(each.name, reason) for each in self.definitions if each.unit == "mm")
        kept = tuple(each for each in self.definitions if each.unit != "mm")
        return Selection(self.quantities, kept, (*self.skipped, *gone))

    def values(
        self,
        points_px: NDArray[np.floating],
        names: Sequence[str],
        spacing_mm: tuple[float, float] | None = None,
    ) -> tuple[QuantityValue, ...]:
        """The selected quantities of one image, as :meth:`Quantities.measure` gives them."""
        found = self.quantities.measure(points_px, names, spacing_mm)
        return tuple(QuantityValue(e.name, e.unit, found[e.name]) for e in self.definitions)

    def to_dict(self) -> dict[str, Any]:
        """What ``quantities`` of ``mahtrt.bench/1`` says."""
        return {
            "file": self.quantities.file,
            "title": self.quantities.title,
            "definitions": [
                {
                    "name": each.name,
                    "unit": each.unit,
                    "kind": each.kind,
                    "points": list(self.quantities.landmark_points(each)),
                    "source": each.source,
                    "about": each.about,
                }
                for each in self.definitions
            ],
            "skipped": plain(self.skipped),
        }


def spelling(name: str) -> str:
    """A name as it is compared: without case, spaces, and the characters ``_ - .``"""
    return name.casefold().translate(_IGNORED)


def _joined(reasons: Mapping[str, str], names: Iterable[str]) -> str:
    """The reasons of some of the names, each once; "" without any."""
    parts = (part for name in names for part in reasons.get(name, "").split("; ") if part)
    return "; ".join(dict.fromkeys(parts))


_IGNORED = str.maketrans("", "", " _-.")
_CONSTRUCT = {"midpoint": midpoint, "intersection": intersection}


def _of_points(each: Definition, points: Mapping[str, Floats], images: int) -> Floats:
    """A quantity of points in N images, NaN where a point is absent."""
    if any(name not in points for name in (*each.points, *each.sign_points)):
        return np.full(images, np.nan)
    taken = [points[name] for name in each.points]
    return from_points(each.kind, taken, [points[name] for name in each.sign_points])
