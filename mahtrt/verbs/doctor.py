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
    from rich.text import Text

    from mahtrt.verbs.diagnosis import Check


LEAST_FIX = 56  # characters of a column of commands, which are hard to copy when wrapped


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
    from rich.text import Text

    from mahtrt.verbs.rendering import Indented, line
    from mahtrt.verbs.tables import Column, FittedTable

    titles = {"machine": "Machine", "package": "Packages", "capability": "What it can do"}
    colours = {"ok": "green", "warn": "yellow", "missing": "bright_black", "error": "red"}
    tables: list[RenderableType] = [Indented(_verdict(checks), 0, 2)]
    for group, title in titles.items():
        rows = [
            (check.name, line(check.status, style=colours[check.status]), check.detail, check.fix)
            for check in checks
            if check.group == group
        ]
        found = Column("found", is_prose=True)
        fix = Column("what to do", is_prose=True, is_lesser=True, least=LEAST_FIX)
        tables += [Text(), FittedTable((Column(title), Column("status"), found, fix), rows)]
    return Renderables(*tables)


def _verdict(checks: Sequence[Check]) -> Text:
    """Whether bundles can be run here at all, and how much else there is to say."""
    from mahtrt.verbs.diagnosis import DoctorResult
    from mahtrt.verbs.rendering import line

    ok = DoctorResult(tuple(checks)).ok
    verdict = line("OK" if ok else "BROKEN", style="bold green" if ok else "bold red")
    counts = {
        "could be better": sum(check.status == "warn" for check in checks),
        "missing": sum(check.status == "missing" for check in checks),
        "broken": sum(check.status == "error" for check in checks),
    }
    found = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    does = "bundles run here" if ok else "bundles cannot run here"
    return verdict.append(f"  {does}; of what mahtrt can use: {found or 'all is there'}")
