"""Accuracy of maps, logits and visibility as tables, one per output and a row per engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.text import Text

from mahtrt.bundle.output_records import LogitsRecord, MapRecord, VisibilityRecord
from mahtrt.verbs.tables import Column, FittedTable, numbers

if TYPE_CHECKING:
    from mahtrt.benchmarks.report import Row

MAP_LEGEND = (
    "differ mean, p99, max: absolute difference to the reference's map, over all values.",
    "SSIM, worst: structural similarity to it, the mean over images and that of the worst image.",
    "MAE: mean absolute error against annotated maps; change: the engine's minus the reference's.",
)
LABEL_LEGEND = (
    "same: share of the decisions at the output's threshold that are the reference's.",
    "AUROC: area under the receiver operating characteristic, the mean over labels; change: the "
    "engine's minus the reference's.",
)

# Columns of a kind: the heading, and what it says of a record, whether that is the reference's.
Columns = tuple[tuple[str, Callable[[Any, bool], str]], ...]


def output_tables(
    rows: Sequence[Row], label: Callable[[Row], str], gate: Callable[[Row], str] | None
) -> Iterator[RenderableType]:
    """A table per output, with a line between them.

    Args:
        rows: One row per engine.
        label: What a row is called.
        gate: Its verdict in a word, for the first table; None where a table before has it.
    """
    for field, columns in (("maps", _MAP), ("logits", _LOGITS), ("visibility", _VISIBILITY)):
        for index, record in enumerate(getattr(rows[0].accuracy, field)):
            headings = (*(heading for heading, _ in columns), *(["gate"] if gate else []))
            cells = [
                (
                    label(row),
                    *(
                        say(getattr(row.accuracy, field)[index], row.is_reference)
                        for _, say in columns
                    ),
                    *([gate(row)] if gate else []),
                )
                for row in rows
            ]
            yield Text()
            yield FittedTable((Column(record.name), *numbers(*headings)), cells)
            gate = None  # it judges the whole engine: once is enough


def legend(rows: Sequence[Row]) -> tuple[str, ...]:
    """What the columns mean, of the kinds of outputs that there are."""
    found = rows[0].accuracy
    labels = LABEL_LEGEND if found.logits or found.visibility else ()
    return (*(MAP_LEGEND if found.maps else ()), *labels)


def _unless(text: Callable[[Any], str]) -> Callable[[Any, bool], str]:
    """A number that compares with the reference, which has none of its own."""
    return lambda found, is_reference: "" if is_reference else text(found)


def _always(text: Callable[[Any], str]) -> Callable[[Any, bool], str]:
    return lambda found, _: text(found)


def _small(value: float | None, sign: str = "") -> str:
    """Three digits, however small; "" for None."""
    return "" if value is None else f"{value:{sign}.3g}"


def _mae(found: MapRecord) -> str:
    return "" if found.mae is None else f"{found.mae:.4f}"


def _share(found: LogitsRecord | VisibilityRecord) -> str:
    return f"{100 * found.agreement:.2f}%"


def _accuracy(found: VisibilityRecord) -> str:
    return "" if found.accuracy is None else f"{100 * found.accuracy:.1f}%"


def _accuracy_change(found: VisibilityRecord) -> str:
    return "" if found.delta_accuracy is None else f"{100 * found.delta_accuracy:+.2f}%"


_MAP: Columns = (
    ("differ mean", _unless(lambda found: _small(found.mean))),
    ("p99", _unless(lambda found: _small(found.p99))),
    ("max", _unless(lambda found: _small(found.max))),
    ("SSIM", _unless(lambda found: f"{found.ssim:.4f}")),
    ("worst", _unless(lambda found: f"{found.worst_ssim:.4f}")),
    ("MAE", _always(_mae)),
    ("change", _unless(lambda found: _small(found.delta_mae, "+"))),
)
_LOGITS: Columns = (
    ("differ mean", _unless(lambda found: _small(found.mean))),
    ("max", _unless(lambda found: _small(found.max))),
    ("same", _unless(_share)),
    ("AUROC", _always(lambda found: "" if found.auroc is None else f"{found.auroc:.4f}")),
    ("change", _unless(lambda found: _small(found.delta_auroc, "+"))),
)
_VISIBILITY: Columns = (
    ("differ mean", _unless(lambda found: _small(found.mean))),
    ("max", _unless(lambda found: _small(found.max))),
    ("same", _unless(_share)),
    ("right", _always(_accuracy)),
    ("change", _unless(_accuracy_change)),
)
