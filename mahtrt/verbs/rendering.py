"""What rich draws, with every character visible."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.segment import Segment

from mahtrt.names import visible


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
