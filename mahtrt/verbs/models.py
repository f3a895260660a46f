"""``mahtrt models``: the networks that mahtrt knows, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mahtrt.verbs.command import as_command
from mahtrt.verbs.console import show, write_json
from mahtrt.verbs.options import Json

if TYPE_CHECKING:
    from mahtrt.models.summary import ModelSummary
    from mahtrt.verbs.tables import FittedTable


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
        write_json(
            {"schema": "mahtrt.models/1", "models": [row.to_dict() for row in rows]}, arguments.json
        )
    else:
        show(table_of(rows))


def table_of(rows: Sequence[ModelSummary]) -> FittedTable:
    """A row per variant."""
    from mahtrt.verbs.tables import Column, FittedTable, numbers

    columns = (
        *(Column("model"), Column("parts", is_prose=True), Column("inputs", is_prose=True)),
        *(Column("gives", is_prose=True), *numbers("parameters", "GFLOPs")),
    )
    cells = [
        (
            *(row.name, ", ".join(row.parts.values()), _inputs(row), _gives(row)),
            *(f"{row.parameters / 1e6:.1f} M", f"{row.gflops:.1f}"),
        )
        for row in rows
    ]
    return FittedTable(columns, cells)


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
