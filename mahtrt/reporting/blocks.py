"""What a page is made of: sections of tables, sentences and pictures, before they are HTML.

Each class has a ``kind``, by which the template knows how to write it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

from mahtrt.reporting.document import Number
from mahtrt.reporting.strips import Axis, Mark

Tone = Literal["", "pass", "fail", "quiet", "warn"]


@dataclass(frozen=True, slots=True)
class Between:
    """An interval."""

    low: Number
    high: Number
    kind: ClassVar[str] = "between"


@dataclass(frozen=True, slots=True)
class Status:
    """A word with a colour; the word says it all."""

    text: str
    tone: Tone
    kind: ClassVar[str] = "status"


@dataclass(frozen=True, slots=True)
class Strip:
    """Marks on the axis of a column."""

    marks: tuple[Mark, ...]
    kind: ClassVar[str] = "strip"


@dataclass(frozen=True, slots=True)
class Heat:
    """A number on a ground that is the darker the larger it is.

    Attributes:
        level: 0 (the ground of the page) to 9.
        note: What is special about it, such as that points were left out.
    """

    number: Number
    level: int
    note: str = ""
    kind: ClassVar[str] = "heat"


@dataclass(frozen=True, slots=True)
class Words:
    """Texts and numbers that follow each other."""

    pieces: tuple[str | Number | Between, ...]
    kind: ClassVar[str] = "words"


Cell: TypeAlias = str | Number | Between | Status | Strip | Heat | Words


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: Its heading, with the unit.
        axis: Axis of the strips in it; None where it holds none.
        is_name: Whether it names the row.
    """

    title: str
    axis: Axis | None = None
    is_name: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table, one cell for each column."""

    cells: tuple[Cell, ...]
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its caption.

    Attributes:
        legend: What the drawings mean.
        is_folded: Whether a reader has to open it first; print shows it all the same.
        is_dense: Whether it has many narrow columns, and stays a table on a narrow screen.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    legend: str = ""
    is_folded: bool = False
    is_dense: bool = False
    kind: ClassVar[str] = "table"


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values below each other."""

    caption: str
    facts: tuple[tuple[str, Cell], ...]
    is_folded: bool = False
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A text."""

    words: Words
    tone: Tone = ""
    kind: ClassVar[str] = "paragraph"


@dataclass(frozen=True, slots=True)
class Picture:
    """An image inside the page.

    Attributes:
        source: ``data:`` address of the image.
        alt: What it shows, for who does not see it.
        caption: What stands below it.
    """

    source: str
    alt: str
    caption: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Case:
    """One image on which an engine and the reference differ, with pictures beside each other."""

    title: str
    facts: Words
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True, slots=True)
class Cases:
    """Images ranked by disagreement."""

    cases: tuple[Case, ...]
    kind: ClassVar[str] = "cases"


Block: TypeAlias = Table | Facts | Paragraph | Cases


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page.

    Attributes:
        name: Unique on the page, for links.
        intro: What it shows and how to read it.
    """

    name: str
    title: str
    intro: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Tile:
    """A number that a reader looks for first."""

    title: str
    value: Cell
    unit: str = ""
    note: Cell = ""


@dataclass(frozen=True, slots=True)
class Part:
    """All about one bundle.

    Attributes:
        verdict: The verdict in a word.
        summary: The verdict in sentences.
        reasons: Why it is not a pass.
        warnings: What a reader of the numbers has to know.
    """

    name: str
    title: str
    verdict: Status
    summary: tuple[Words, ...]
    tiles: tuple[Tile, ...]
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A whole page.

    Attributes:
        comparison: The bundles beside each other, where there are several.
        document: The JSON that every number is from.
    """

    title: str
    parts: tuple[Part, ...]
    comparison: Table | None
    document: object = field(default=None, repr=False)


def words(*pieces: str | Number | Between) -> Words:
    """Texts and numbers as they follow each other."""
    return Words(tuple(pieces))


def columns(*titles: str) -> tuple[Column, ...]:
    """Columns without strips, the first of which names the rows."""
    return tuple(Column(title, is_name=index == 0) for index, title in enumerate(titles))


def any_filled(rows: Sequence[Row], place: int) -> bool:
    """Whether a column has a value in any of its rows."""
    return any(not is_empty(row.cells[place]) for row in rows)


def is_empty(cell: Cell) -> bool:
    """Whether there is nothing to show in a cell."""
    if isinstance(cell, Number):
        return cell.value is None
    return cell == "" or (isinstance(cell, Words | Strip) and not _content(cell))


def _content(cell: Words | Strip) -> tuple[object, ...]:
    return cell.pieces if isinstance(cell, Words) else cell.marks


def without_empty_columns(table: Table) -> Table:
    """The table without columns in which nothing stands."""
    kept = [
        k for k, column in enumerate(table.columns) if column.is_name or any_filled(table.rows, k)
    ]
    rows = tuple(Row(tuple(row.cells[k] for k in kept), row.tone) for row in table.rows)
    chosen = tuple(table.columns[k] for k in kept)
    return Table(table.caption, chosen, rows, table.legend, table.is_folded, table.is_dense)
