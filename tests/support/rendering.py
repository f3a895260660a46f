"""What a terminal shows, as text."""

from __future__ import annotations

import io

from rich.console import Console, RenderableType

from mahtrt.benchmarks.report import BenchReport
from mahtrt.verbs.report_text import report_table


def text_of(renderable: RenderableType, *, width: int = 120) -> str:
    """A table or text, without colours and spaces at line ends."""
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None, force_terminal=False)
    console.print(renderable)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def report_text(report: BenchReport, *, width: int = 110, explain: bool = False) -> str:
    """A bench's report, as the command shows it."""
    return text_of(report_table(report, explain=explain), width=width)
