"""Section of precision: the plan, and what each block's INT8 does to each landmark."""

from __future__ import annotations

import math
from collections.abc import Iterator

from mahtrt.reporting.blocks import (
    Block,
    Cell,
    Column,
    Heat,
    Row,
    Section,
    Status,
    Strip,
    Table,
    Tone,
    columns,
    without_empty_columns,
    words,
)
from mahtrt.reporting.document import At
from mahtrt.reporting.strips import Mark, axis_over

_INTRO = (
    "The plan says in which precision each block of the network computes, and why. Gain and cost "
    "are what a planner measured of a block alone in INT8: time saved, and mean displacement."
)
_TONES: dict[str, Tone] = {"int8": "pass", "float": "", "fp32": "quiet"}
_WORDS = {"int8": "INT8", "float": "floating point", "fp32": "FP32"}
# Ground of a cell, by the logarithm: from a thousandth of a pixel to one.
_LOW_PX, _HIGH_PX, _LEVELS = 1e-3, 1.0, 9


def precision_section(part: At) -> Section | None:
    """The plan of a bundle and the sensitivity of its blocks; None where neither is known."""
    plan, sensitivity = part.get("plan"), part.get("sensitivity")
    blocks: list[Block] = []
    if plan is not None:
        blocks.append(_plan(plan))
    if sensitivity is not None:
        blocks += _matrices(sensitivity)
    if not blocks:
        return None
    return Section("precision", "Precision of each block", _INTRO, tuple(blocks))


def _plan(plan: At) -> Table:
    found = list(plan["blocks"].items())
    axis = axis_over([each.number("flops_share", "share").value for each in found], zero=True)
    rows = []
    for each in found:
        precision, share = each.text("precision"), each.number("flops_share", "share")
        bar = axis is not None and share.value is not None
        marks = (Mark("bar", 0.0, axis.at(share.value)),) if bar else ()  # type: ignore[union-attr, arg-type]
        rows.append(
            Row(
                (
                    each.text("name"),
                    Status(_WORDS.get(precision, precision), _TONES.get(precision, "")),
                    Strip(marks),
                    share,
                    each.number("gain_ms", "ms", signed=True),
                    each.number("cost_px", "px"),
                    each.text("reason"),
                )
            )
        )
    titles = (
        *(Column("block", is_name=True), Column("precision"), Column("")),
        *(Column("arithmetic"), Column("gain, ms"), Column("cost, px"), Column("reason")),
    )
    return without_empty_columns(Table("Plan", titles, tuple(rows), is_folded=len(rows) > 12))


def _matrices(sensitivity: At) -> Iterator[Table]:
    for key, name in (("blocks", "INT8"), ("half_blocks", sensitivity.text("half").upper())):
        rows = sensitivity.get(key)
        if rows is not None and rows.value:
            yield _matrix(sensitivity, list(rows.items()), name)


def _matrix(sensitivity: At, blocks: list[At], precision: str) -> Table:
    landmarks = [str(item.value) for item in sensitivity["landmarks"].items()]
    rows = tuple(
        Row((block.text("name"), *(_cell(cell) for cell in block["cells"].items())))
        for block in blocks
    )
    widest = max((len(row.cells) - 1 for row in rows), default=0)
    names = landmarks + ["mean"] * (widest - len(landmarks))
    caption = f"Sensitivity: mean displacement in px, one block alone in {precision}"
    return Table(
        caption,
        columns("block", *names[:widest]),
        tuple(Row(row.cells + ("",) * (widest + 1 - len(row.cells)), row.tone) for row in rows),
        "Ground: the darker, the larger, by the logarithm. *: points with two peaks are among it.",
        is_dense=True,
    )


def _cell(cell: At) -> Cell:
    number = cell.number("mean_px", "px")
    if number.value is None:
        return words()
    peaks = cell.number("two_peaked", "count").value
    return Heat(number, _level(number.value), "*" if peaks else "")


def _level(value: float) -> int:
    if value <= _LOW_PX:
        return 0
    span = math.log(_HIGH_PX / _LOW_PX)
    return min(_LEVELS, round(_LEVELS * math.log(value / _LOW_PX) / span))
