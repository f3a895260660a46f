"""``mahtrt models``: the networks that mahtrt knows, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mahtrt.verbs.command import as_command
from mahtrt.verbs.console import show, write_json
from mahtrt.verbs.options import Json

if TYPE_CHECKING:
    from rich.table import Table

    from mahtrt.models.summary import ModelSummary


@dataclass(frozen=True, kw_only=True)
class ModelsArguments:
    """What ``mahtrt models`` is given."""

    json: Json = None


@as_command
def command(arguments: ModelsArguments) -> None:
    """List the networks with their parameters and GFLOPs."""
    from mahtrt.models.summary import models

    rows = models()
    if arguments.json is not None:
        write_json({"models": [row.to_dict() for row in rows]}, arguments.json)
    else:
        show(table_of(rows))


def table_of(rows: Sequence[ModelSummary]) -> Table:
    """A row per variant."""
    from rich.table import Table

    table = Table()
    table.add_column("model", no_wrap=True)
    for column in ("parts", "inputs", "gives"):
        table.add_column(column)
    for column in ("parameters", "GFLOPs"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        parameters, gflops = f"{row.parameters / 1e6:.1f} M", f"{row.gflops:.1f}"
        parts = ", ".join(row.parts.values())
        table.add_row(row.name, parts, _inputs(row), _gives(row), parameters, gflops)
    return table


def _inputs(row: ModelSummary) -> str:
    """``3x256x256``, and how many where there are more of that size."""
    sizes = [f"{image.channels}x{image.size[0]}x{image.size[1]}" for image in row.inputs]
    counts = {size: sizes.count(size) for size in sizes}
    return ", ".join(f"{n} of {size}" if n > 1 else size for size, n in counts.items())


def _gives(row: ModelSummary) -> str:
    """What a case results in, the landmarks by their number."""
    kinds = dict.fromkeys(row.outputs.values())
    if not row.landmarks:
        return ", ".join(kinds)
    others = [kind for kind in kinds if kind in ("visibility", "map", "logits")]
    return ", ".join([f"{row.landmarks} landmarks", *others])
