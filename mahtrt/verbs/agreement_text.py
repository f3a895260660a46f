"""Where engines disagree with the reference, as text: worst landmarks and clinical quantities."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from mahtrt.verbs.rendering import Indented, line
from mahtrt.verbs.tables import Column, FittedTable, numbers

if TYPE_CHECKING:
    from mahtrt.benchmarks.report import BenchReport
    from mahtrt.measure.agreement import Agreement, LandmarkAgreement
    from mahtrt.measure.quantity_agreement import QuantityAgreement


def agreement_tables(report: BenchReport) -> list[RenderableType]:
    """The worst landmark of every engine, and the quantities of the default one."""
    if not report.details:
        return []
    lines: list[RenderableType] = [Text(), _worst_table(report)]
    name = report.judged_row.name
    shown = report.details.get(name)
    if shown is not None and shown.quantities:
        lines += [Text(), _quantity_table(name, shown)]
    return lines + [Indented(line(text), 2, 4) for text in _notes(report)]


def worst_landmark(agreement: Agreement) -> LandmarkAgreement:
    """The landmark whose 95th percentile is largest."""
    return max(agreement.landmarks, key=lambda each: (each.px.p95, each.px.max))


def _worst_table(report: BenchReport) -> RenderableType:
    columns = (
        *(Column("worst by p95, px"), Column("landmark")),
        *(*numbers("bias x, y", "spread x, y", is_lesser=True), *numbers("p95", "max")),
    )
    rows = []
    for name, agreement in report.details.items():
        found = worst_landmark(agreement)
        moved = found.px
        row = (
            *(name, found.name, f"{_signed(moved.bias[0])}, {_signed(moved.bias[1])}"),
            f"{_number(moved.spread[0])}, {_number(moved.spread[1])}",
            *(_number(moved.p95), _number(moved.max)),
        )
        rows.append(row)
    return FittedTable(columns, rows, lesser_name="bias, spread")


def _quantity_table(name: str, agreement: Agreement) -> RenderableType:
    """Engine minus reference of every quantity."""
    columns = (
        *(Column(name), Column("")),  # the unit
        *numbers("bias [95% interval]", "spread", "p95", "max"),
    )
    rows = [
        (
            *(each.name, each.unit, _bias(each)),
            *(_number(value) for value in (each.spread, each.p95, each.max)),
        )
        for each in agreement.quantities
    ]
    return FittedTable(columns, rows)


def _bias(found: QuantityAgreement) -> str:
    between = found.bias_interval
    text = "" if between is None else f" [{_signed(between[0])}, {_signed(between[1])}]"
    return _signed(found.bias) + text


def _notes(report: BenchReport) -> Iterator[str]:
    """What has no value, and where; what is skipped is counted, the JSON has the reasons."""
    for name, agreement in report.details.items():
        broken = sum(each.px.non_finite for each in agreement.landmarks)
        if broken:
            points = "1 point is" if broken == 1 else f"{broken} points are"
            yield f"{name}: {points} not finite, so that what rests on them is unknown"
        for each in agreement.quantities:
            if each.non_finite:
                images = "1 image" if each.non_finite == 1 else f"{each.non_finite} images"
                yield f"{name}: {each.name} has no value in {images}"
    skipped = report.quantities.skipped if report.quantities else ()
    if report.quantities is not None and skipped:
        several = "1 quantity" if len(skipped) == 1 else f"{len(skipped)} quantities"
        yield (
            f"{report.quantities.quantities.file}: {several} cannot be measured here "
            f"({skipped[0].name}: {skipped[0].reason}); the JSON has all reasons"
        )


def _signed(value: float) -> str:
    # Adding 0.0 takes the sign from -0.0.
    return f"{round(value, 3) + 0.0:+.3f}" if math.isfinite(value) else "unknown"


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "unknown"
