"""What rich draws, with every character visible."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.text import Text

from mahtrt.names import visible


def line(text: str, style: str = "") -> Text:
    """A text in one line; brackets in it are no markup, and rich leaves no character out."""
    return Text(visible(text), style)


class VisibleConsole(Console):
    """A console on which the plain strings of a table lose no character either."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Make rich's text of a string, which leaves some control characters out."""
        return super().render_str("\n".join(map(visible, text.split("\n"))), **options)


@dataclass(frozen=True, slots=True)
class Visible:
    """A table or text in which escape sequences of names are shown, not sent to the terminal."""

    inner: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self.inner, options):
            if segment.control:
                continue
            text = "\n".join(map(visible, segment.text.split("\n")))
            yield Segment(text, segment.style)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self.inner)


@dataclass(frozen=True, slots=True)
class Indented:
    """A text that is wrapped between words, its lines set in.

    Attributes:
        first, rest: Spaces before the first line, and before those that follow.
    """

    text: Text
    first: int = 0
    rest: int = 0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(options.max_width - max(self.first, self.rest), 1)
        for number, part in enumerate(self.text.wrap(console, width, overflow="fold")):
            part.rstrip()
            yield Text(" " * (self.rest if number else self.first)).append_text(part)


def paragraphs(texts: Iterable[str]) -> RenderableType:
    """Explanations below a table, each with its later lines set in."""
    return Group(Text(), *(Indented(line(text), 0, 2) for text in texts))
