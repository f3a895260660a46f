"""``mahtrt doctor``: what this machine can do, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from mahtrt.errors import MissingComponentError
from mahtrt.verbs.command import as_command
from mahtrt.verbs.console import show, write_json
from mahtrt.verbs.options import Json

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mahtrt.verbs.diagnosis import Check


@dataclass(frozen=True, kw_only=True)
class DoctorArguments:
    """What ``mahtrt doctor`` is given."""

    json: Json = None


@as_command
def command(arguments: DoctorArguments) -> None:
    """Say what this machine can do, and what to install."""
    from mahtrt.verbs.diagnosis import doctor

    found = doctor()
    if arguments.json is not None:
        write_json(found.to_dict(), arguments.json)
    else:
        show(tables_of(found.checks))
    raise typer.Exit(0 if found.ok else MissingComponentError.exit_code)


def tables_of(checks: Sequence[Check]) -> RenderableType:
    """The checks by group, for a terminal."""
    from rich.console import Group as Renderables
    from rich.table import Table

    from mahtrt.verbs.rendering import line

    titles = {"machine": "Machine", "package": "Packages", "capability": "What it can do"}
    colours = {"ok": "green", "warn": "yellow", "missing": "bright_black", "error": "red"}
    tables = []
    for group, title in titles.items():
        table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
        for column in ("", "status", "found", "what to do"):
            table.add_column(column, overflow="fold")
        for check in checks:
            if check.group == group:
                status = line(check.status, style=colours[check.status])
                table.add_row(line(check.name), status, line(check.detail), line(check.fix))
        tables.append(table)
    return Renderables(*tables)
