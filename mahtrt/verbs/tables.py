"""Tables that are whole at every width: nothing is cut, and no line is longer than the terminal.

A table that is too wide changes its shape. In this order it is drawn

1. with a line per row;
2. with headings of several lines;
3. with the name of a row above it, once for rows of one name, and the cells below, set in;
4. as two tables, the second with the columns that matter less;
5. as a block per row, each cell behind its heading.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from mahtrt.verbs.rendering import Indented, line

GAP, INDENT = 2, 2  # characters between columns, and before what belongs to a name
LEAST_PROSE = 16  # characters of a column of whole sentences

Cell = str | Text


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        is_number: On the right of the column.
        is_prose: Text that may be wrapped, such as a sentence or a path.
        is_lesser: May be moved to a second table where the first is too wide.
        least: Characters that a column of prose has at least, where it needs as many.
    """

    heading: str
    is_number: bool = False
    is_prose: bool = False
    is_lesser: bool = False
    least: int = LEAST_PROSE


def numbers(*headings: str, is_lesser: bool = False) -> tuple[Column, ...]:
    """Columns of numbers."""
    return tuple(Column(heading, is_number=True, is_lesser=is_lesser) for heading in headings)


@dataclass(frozen=True, slots=True)
class FittedTable:
    """Rows below headings, in a shape that fits; the first column names the row.

    Attributes:
        title: A line above; "" for none.
        lesser_name: Heading of the names in the second table, where there are two.
        repeats_names: Whether each of several rows of one name has it.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    title: str = ""
    lesser_name: str = ""
    repeats_names: bool = True

    @property
    def row_count(self) -> int:
        return len(self.rows)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.title:
            yield Indented(line(self.title, style="bold"))
        yield from self._fitted(console, options.max_width)

    def _fitted(self, console: Console, width: int) -> Iterator[Text]:
        for is_headed in (False, True):
            for wraps_headings in (False, True):
                widths = self._widths(width, is_headed, wraps_headings)
                if widths is not None:
                    yield from self._drawn(console, widths, is_headed)
                    return
        lesser = [index for index, column in enumerate(self.columns) if column.is_lesser]
        if lesser:
            kept = [index for index in range(len(self.columns)) if index not in lesser]
            yield from self._part(kept, range(len(self.columns)), "")._fitted(console, width)
            rest = self._part([0, *self._keys(lesser), *lesser], lesser, self.lesser_name)
            if rest.rows:
                yield Text()
                yield from rest._fitted(console, width)
        else:
            yield from self._stacked(console, width)

    def _keys(self, lesser: Sequence[int]) -> list[int]:
        """The columns behind the first that tell rows of one name apart."""
        rows = [row for row in self.rows if any(_plain(row[i]) for i in lesser)]
        names = [_plain(row[0]) for row in rows]
        if len(set(names)) == len(names):
            return []
        return [
            index
            for index, column in enumerate(self.columns)
            if index and index not in lesser and not (column.is_number or column.is_prose)
        ]

    def _part(self, indices: Sequence[int], told: Sequence[int], name: str) -> FittedTable:
        """The table of some columns, the first among them, and of the rows that tell something.

        Args:
            told: The columns of which a row tells at least one; the others are left out.
            name: Heading of the first column, "" for its own.
        """
        rows = [row for row in self.rows if any(_plain(row[i]) for i in told)]
        used = [i for i in indices if not i or any(_plain(row[i]) for row in rows)]
        columns = [replace(self.columns[i], is_lesser=False) for i in used]
        columns[0] = replace(columns[0], heading=name or columns[0].heading)
        cells = [[row[i] for i in used] for row in rows]
        return FittedTable(columns, cells, repeats_names=self.repeats_names)

    def _widths(self, width: int, is_headed: bool, wraps_headings: bool) -> list[int] | None:
        """Characters of each column, None where they do not fit."""
        first = 1 if is_headed else 0
        room = width - (INDENT if is_headed else 0) - GAP * (len(self.columns) - first - 1)
        found = [0] * first
        prose: dict[int, int] = {}
        for index, column in enumerate(self.columns[first:], first):
            heading = max(map(cell_len, column.heading.split() or [""]))
            heading = heading if wraps_headings else cell_len(column.heading)
            most = max((cell_len(_plain(row[index])) for row in self.rows), default=0)
            if column.is_prose and most > column.least:
                prose[index] = most
                most = column.least
            found.append(max(heading, most))
        spare = room - sum(found[first:])
        if spare < 0 or (is_headed and len(self.columns) == 1):
            return None
        # What is left goes to the columns of sentences, to the shortest first.
        for left, index in enumerate(sorted(prose, key=lambda index: prose[index])):
            more = max(0, min(spare // (len(prose) - left), prose[index] - found[index]))
            found[index] += more
            spare -= more
        return found

    def _drawn(self, console: Console, widths: Sequence[int], is_headed: bool) -> Iterator[Text]:
        columns, first = self.columns, 1 if is_headed else 0
        heads = [line(column.heading, style="bold") for column in columns]
        cells = [[_text(cell) for cell in row] for row in self.rows]
        if is_headed and columns[0].heading and not self.title:
            yield heads[0]
        if any(column.heading for column in columns[first:]):
            yield from self._line(console, heads, widths, first)
        before: str | None = None
        for row in cells:
            if is_headed and row[0].plain != before and row[0].plain:
                yield from _lines(console, row[0], self._room(widths))
            elif not self.repeats_names and row[0].plain == before:
                row = [Text(), *row[1:]]
            before = row[0].plain or before
            yield from self._line(console, row, widths, first)

    @staticmethod
    def _room(widths: Sequence[int]) -> int:
        return max(INDENT + sum(widths) + GAP * (len(widths) - 2), 20)

    def _line(
        self, console: Console, cells: Sequence[Text], widths: Sequence[int], first: int
    ) -> Iterator[Text]:
        """A row, of as many lines as its longest cell takes; headings stand at the bottom."""
        wrapped = [
            _lines(console, c, w) for c, w in zip(cells[first:], widths[first:], strict=True)
        ]
        for number in range(max(map(len, wrapped))):
            drawn = Text(" " * INDENT if first else "")
            for index, lines in enumerate(wrapped):
                text = lines[number].copy() if number < len(lines) else Text()
                column = self.columns[first + index]
                text.align("right" if column.is_number else "left", widths[first + index])
                drawn.append_text(text).append(" " * GAP)
            drawn.rstrip()
            yield drawn

    def _stacked(self, console: Console, width: int) -> Iterator[Text]:
        """A block per row."""
        if self.columns[0].heading and not self.title:
            yield line(self.columns[0].heading, style="bold")
        before: str | None = None
        for row in self.rows:
            name = _text(row[0])
            if name.plain != before and name.plain:
                yield from _lines(console, name, width)
            before = name.plain
            yield from _block(console, list(zip(self.columns, row, strict=True))[1:], width)


def _block(console: Console, cells: Sequence[tuple[Column, Cell]], width: int) -> Iterator[Text]:
    """The cells of a row behind their headings, as many in a line as there is room for."""
    room, drawn = width - INDENT, Text()
    for column, cell in cells:
        if not _plain(cell):
            continue
        heading = f"{column.heading}: " if column.heading else ""
        pair = line(heading, style="dim").append_text(_bare(cell))
        if drawn and cell_len(drawn.plain) + GAP + cell_len(pair.plain) > room:
            yield from _set_in(console, drawn, room)
            drawn = Text()
        drawn.append(" " * GAP if drawn else "").append_text(pair)
    if drawn:
        yield from _set_in(console, drawn, room)


def _set_in(console: Console, text: Text, room: int) -> Iterator[Text]:
    for part in _lines(console, text, room):
        yield Text(" " * INDENT).append_text(part)


def _lines(console: Console, text: Text, width: int) -> list[Text]:
    """A text in lines of at most ``width`` characters, broken between words where possible."""
    if cell_len(text.plain) <= width:
        return [text]
    lines = list(text.wrap(console, max(width, 1), overflow="fold"))
    for each in lines:
        each.rstrip()
    return lines


def _bare(cell: Cell) -> Text:
    """A cell with a style of its own, whatever stands before it."""
    text = _text(cell).copy()
    text.stylize_before("not dim")
    return text


def _text(cell: Cell) -> Text:
    return cell if isinstance(cell, Text) else line(cell)


def _plain(cell: Cell) -> str:
    return _text(cell).plain
