"""The file that defines quantities: a strict reader, and the files that mahtrt ships.

The format is TOML, ``mahtrt.quantities/1`` (``docs/quantities.md``). Whatever does not fit is one
error that names the quantity: nothing is guessed, since a number of another meaning looks like any
other number.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mahtrt.errors import SpecError, shown, some_of
from mahtrt.measure.quantities import (
    Constructed,
    Definition,
    Quantities,
    Selection,
    spelling,
)
from mahtrt.measure.quantity_kinds import KINDS
from mahtrt.parsing import MOST_TOML_BYTES, first_repeat, read_toml
from mahtrt.reading import Wanted, read_regular
from mahtrt.schema import check_schema, dataclass_from

SCHEMA = "mahtrt.quantities/1"
SHIPPED = ("cephalometry.toml", "spine.toml")
MOST_QUANTITIES = 1000
_WHAT = "a file of quantities"
_WANTED = Wanted(f"{_WHAT} (TOML, {SCHEMA})", SpecError)


@dataclass(frozen=True, slots=True)
class _File:
    """The tables of the file."""

    schema: str
    title: str
    points: Mapping[str, tuple[str, ...]]
    quantity: tuple[Definition, ...]
    constructed: tuple[Constructed, ...] = ()


def read_quantities(path: Path) -> Quantities:
    """Read definitions of quantities.

    Raises:
        SpecError: No such file, or what it says is not clear: an unknown field, kind or point, a
            unit that the kind cannot have, no source, a name that is there twice, …
        IntegrityError: A newer format.
    """
    path = Path(path)
    where = str(path)
    data = read_toml(read_regular(path, _WANTED, MOST_TOML_BYTES), where, _WHAT)
    check_schema(str(data.get("schema", "")), SCHEMA, where)
    file = dataclass_from(_File, data, where)
    found = Quantities(path.name, file.title, file.points, file.quantity, file.constructed)
    _check(found, where)
    return found


def shipped_quantities() -> tuple[Quantities, ...]:
    """The definitions that come with mahtrt: cephalometry and spine."""
    folder = Path(str(importlib.resources.files("mahtrt") / "assets"))
    return tuple(read_quantities(folder / f"quantities-{name}") for name in SHIPPED)


def quantities_for(asked: Path | str, names: Sequence[str]) -> Selection | None:
    """The quantities to measure of landmarks of these names.

    Args:
        asked: ``none``; ``auto`` for the shipped file of which most can be measured; or a file.

    Returns:
        None where nothing is to be measured, or no shipped file fits.

    Raises:
        SpecError: As :func:`read_quantities`, and for a file of which nothing can be measured.
    """
    if str(asked) == "none":
        return None
    if str(asked) == "auto":
        fitting = [each.select(names) for each in shipped_quantities()] if names else []
        best = max(fitting, key=lambda each: len(each.definitions), default=None)
        return best if best and best.definitions else None
    found = read_quantities(Path(asked)).select(names)
    if not found.definitions:
        raise SpecError(
            f"--quantities {asked}",
            got=f"no quantity that can be measured ({found.skipped[0].name}: "
            f"{found.skipped[0].reason})",
            expected=f"points among the network's landmarks {some_of(list(names), 8) or '(none)'}",
            fix="Add their names to the spellings of its points.",
        )
    return found


def _check(file: Quantities, where: str) -> None:
    """Refuse what no type can rule out."""
    _check_points(file, where)
    if not 0 < sum(not each.intermediate for each in file.definitions) <= MOST_QUANTITIES:
        got = f"{len(file.definitions)} quantities"
        raise SpecError(where, got=got, expected=f"1 to {MOST_QUANTITIES} that are reported")
    if (twice := first_repeat(each.name for each in file.definitions)) is not None:
        raise SpecError(where, got=f"two quantities {shown(twice)}", expected="each name once")
    points = {*file.points, *(each.name for each in file.constructed)}
    before: dict[str, Definition] = {}
    for each in file.definitions:
        about = f"{where}: quantity {shown(each.name)}"
        _check_takes(each, about)
        _check_known((*each.points, *each.sign_points), points, about, "a point of the file")
        _check_known(each.of, before, about, "a quantity that is defined before it")
        _check_unit(each, [before[name] for name in each.of], about)
        before[each.name] = each


def _check_points(file: Quantities, where: str) -> None:
    spelled = [
        (spelling(each), point)
        for point, others in file.points.items()
        for each in dict.fromkeys(map(spelling, (point, *others)))
    ]
    if (twice := first_repeat(each for each, _ in spelled)) is not None:
        both = " and ".join(point for each, point in spelled if each == twice)
        got = f"the spelling {shown(twice)} of the points {both}"
        raise SpecError(f"{where}: points", got=got, expected="each spelling once")
    known = set(file.points)
    for each in file.constructed:
        about = f"{where}: constructed {shown(each.name)}"
        if each.name in known:
            raise SpecError(about, got="a name that another point has", expected="one of its own")
        right = len(each.points) == 4 if each.kind == "intersection" else len(each.points) > 1
        if not right:
            expected = "four" if each.kind == "intersection" else "two or more"
            raise SpecError(about, got=f"{len(each.points)} points", expected=expected)
        _check_known(each.points, known, about, "a point that is defined before it")
        known.add(each.name)


def _check_takes(each: Definition, about: str) -> None:
    """Refuse other numbers of points and quantities than the kind takes, and no source."""
    kind = KINDS[each.kind]
    if not each.name.strip() or not each.source.strip():
        raise SpecError(about, got="no name or no source", expected="both to be said")
    if kind.points and (len(each.points) not in kind.points or each.of):
        got = f"{len(each.points)} points" + (" and quantities" if each.of else "")
        expected = f"{' or '.join(map(str, kind.points))} points of kind {each.kind}"
        raise SpecError(about, got=got, expected=expected)
    least, most = kind.of
    if not least <= len(each.of) <= most or (each.points and not kind.points):
        expected = "two quantities" if least == most else "two or more quantities"
        got = f"{len(each.of)} quantities and {len(each.points)} points"
        raise SpecError(about, got=got, expected=f"{expected} in 'of' and no points")
    for field, given in (("positive_turn", each.positive_turn), ("away_from", each.away_from)):
        if given and kind.sign != field:
            raise SpecError(about, got=field, expected=f"none of kind {each.kind}")
    if len(each.positive_turn) not in (0, 3):
        got = f"{len(each.positive_turn)} points of positive_turn"
        raise SpecError(about, got=got, expected="three")


def _check_known(
    names: Sequence[str], known: Mapping[str, object] | set[str], about: str, what: str
) -> None:
    for name in names:
        if name not in known:
            raise SpecError(about, got=f"the unknown name {shown(name)}", expected=what)


def _check_unit(each: Definition, of: Sequence[Definition], about: str) -> None:
    """Refuse a unit that the kind cannot have, and quantities of several units."""
    units = sorted({other.unit for other in of})
    if len(units) > 1:
        raise SpecError(about, got=f"quantities in {' and '.join(units)}", expected="one unit")
    allowed = tuple(units) if units and each.kind != "ratio" else KINDS[each.kind].units
    if each.unit not in allowed:
        got = f"unit {shown(each.unit)}"
        raise SpecError(about, got=got, expected=f"unit {' or '.join(map(repr, allowed))}")
