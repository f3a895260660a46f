"""Sections of accuracy: engines beside the reference, and clinical quantities."""

from __future__ import annotations

from collections.abc import Iterator

from mahtrt.reporting.blocks import (
    Block,
    Cell,
    Column,
    Row,
    Section,
    Strip,
    Table,
    columns,
    without_empty_columns,
    words,
)
from mahtrt.reporting.document import At, Kind
from mahtrt.reporting.sections.rows import (
    default_name,
    gate_of,
    is_engine,
    label_of,
    rows_of,
    with_interval,
)
from mahtrt.reporting.strips import Axis, Mark, axis_over

_INTRO = (
    "Displacement is the distance between an engine's landmark and the reference's, in pixels of "
    "the network's input. MRE is the mean distance to the annotations, SDR the share of annotated "
    "points found within 2 mm; change is engine minus reference, with its 95% interval over images."
)
_FOREST_LEGEND = (
    "Drawn: dot at the mean with its 95% interval, stroke at the 95th percentile, "
    "light line to the largest."
)
_QUANTITY_LEGEND = "Drawn: mean difference with its 95% interval; the long stroke is zero."


def accuracy_section(bench: At) -> Section:
    """What a bench says of every engine beside the reference."""
    rows = list(rows_of(bench, "engine"))
    blocks: list[Block] = []
    if rows and rows[0]["accuracy"]["per_landmark"].value:
        blocks.append(_engines(rows))
        blocks += _forests(bench, rows)
    blocks += [table for key in ("maps", "logits", "visibility") for table in _outputs(rows, key)]
    return Section("accuracy", "Accuracy", _INTRO, tuple(blocks))


def _engines(rows: list[At]) -> Table:
    told = tuple(
        Row(
            (
                label_of(row),
                *(
                    ("",) * 2
                    if row.flag("reference")
                    else (
                        with_interval(row["accuracy"], "mean_px", "px", "mean_px_interval"),
                        row["accuracy"].number("max_px", "px"),
                    )
                ),
                *(row["accuracy"].number(f"mre_{unit}", unit) for unit in _UNITS),
                *("" if row.flag("reference") else _change(row["accuracy"], u) for u in _UNITS),
                _sdr(row["accuracy"]),
                gate_of(row),
            ),
            "" if is_engine(row) else "quiet",
        )
        for row in rows
    )
    titles = (
        *("engine", "displacement, px", "largest, px", "MRE, image px", "MRE, mm"),
        *("change, image px", "change, mm", "SDR 2 mm", "gate"),
    )
    return without_empty_columns(Table("Engines beside the reference", columns(*titles), told))


_UNITS: tuple[Kind, Kind] = ("px", "mm")


def _change(accuracy: At, unit: Kind) -> Cell:
    key = f"delta_mre_{unit}"
    return with_interval(accuracy, key, unit, f"{key}_interval", signed=True)


def _sdr(accuracy: At) -> Cell:
    rates = accuracy.get("sdr_percent")
    return "" if rates is None else rates.number("2", "percent")


def _forests(bench: At, rows: list[At]) -> Iterator[Table]:
    """Each engine landmark by landmark, the default engine first and open; one axis for all."""
    default, details = default_name(bench), bench.get("details")
    others = [row for row in rows if not row.flag("reference")]
    told = {row.text("name"): _landmarks_of(row, details) for row in others}
    ends = [each.number("max_px", "px").value for found in told.values() for each in found]
    axis = axis_over(ends, zero=True)
    for name in sorted(told, key=lambda each: each != default):
        detailed = bool(told[name]) and told[name][0].get("p95_px") is not None
        rows_of_table = tuple(
            Row(
                (
                    each.text("name"),
                    Strip(_forest_marks(each, axis)),
                    *(_detailed if detailed else _older)(each),
                )
            )
            for each in told[name]
        )
        titles = (
            Column("landmark", is_name=True),
            Column("displacement, px", axis),
            *map(Column, _DETAILED if detailed else _OLDER),
        )
        caption = f"{name}: displacement of each landmark, px"
        legend = _FOREST_LEGEND if detailed else _OLDER_LEGEND
        yield without_empty_columns(
            Table(caption, titles, rows_of_table, legend, is_folded=name != default)
        )


def _landmarks_of(row: At, details: At | None) -> list[At]:
    """What is known of each landmark, in detail where the bench tells it."""
    found = details.get(row.text("name")) if details is not None else None
    told = found.get("landmarks") if found is not None else None
    return list((told if told is not None else row["accuracy"]["per_landmark"]).items())


_DETAILED = (
    *("mean, px", "p95, px", "largest, px", "bias x, y", "spread x, y"),
    *("mean, mm", "p95, mm", "largest, mm"),
)
_OLDER = ("mean, px", "largest, px", "change of MRE")
_OLDER_LEGEND = "Drawn: dot at the mean, light line to the largest."


def _detailed(each: At) -> tuple[Cell, ...]:
    return (
        with_interval(each, "mean_px", "px", "mean_px_interval"),
        *(each.number(key, "px") for key in ("p95_px", "max_px")),
        _pair(each, "bias_px", "px"),
        _pair(each, "spread_px", "px"),
        *(each.number(key, "mm") for key in ("mean_mm", "p95_mm", "max_mm")),
    )


def _older(each: At) -> tuple[Cell, ...]:
    """What a report without details knows."""
    key = "mre_change_percent"
    return (
        *(each.number(name, "px") for name in ("mean_px", "max_px")),
        with_interval(each, key, "percent", f"{key}_interval", signed=True),
    )


def _pair(place: At, key: str, kind: Kind) -> Cell:
    pair = place.get(key)
    if pair is None:
        return ""
    signed = key.startswith("bias")
    x, y = (pair.number(k, kind, signed=signed) for k in (0, 1))
    return words(x, ", ", y)


def _forest_marks(each: At, axis: Axis | None) -> tuple[Mark, ...]:
    mean = each.number("mean_px", "px").value
    if axis is None or mean is None:
        return ()
    marks, around = [], each.get("mean_px_interval")
    most, p95 = (each.number(key, "px").value for key in ("max_px", "p95_px"))
    if most is not None:
        marks.append(Mark("line", 0.0, axis.at(most), "faint"))
    if around is not None:
        low, high = (around.number(k, "px").value or 0.0 for k in (0, 1))
        marks.append(Mark("line", axis.at(low), axis.at(high)))
    if p95 is not None:
        marks.append(Mark("tick", axis.at(p95), tone="quiet"))
    return (*marks, Mark("dot", axis.at(mean)))


_OUTPUTS: dict[str, tuple[tuple[str, str, Kind], ...]] = {
    "maps": (
        ("difference, mean", "mean", "small"),
        ("p99", "p99", "small"),
        ("largest", "max", "small"),
        ("SSIM", "ssim", "ratio"),
        ("worst SSIM", "worst_ssim", "ratio"),
        ("MAE", "mae", "ratio"),
    ),
    "logits": (
        ("difference, mean", "mean", "small"),
        ("largest", "max", "small"),
        ("same decisions", "agreement", "share"),
        ("AUROC", "auroc", "ratio"),
    ),
    "visibility": (
        ("difference, mean", "mean", "small"),
        ("largest", "max", "small"),
        ("same decisions", "agreement", "share"),
        ("right", "accuracy", "share"),
    ),
}


def _outputs(rows: list[At], key: str) -> Iterator[Table]:
    """Maps, labels or visibility: a table per output."""
    outputs = rows[0]["accuracy"].get(key) if rows else None
    if outputs is None:
        return
    for index, output in enumerate(outputs.items()):
        told = []
        for row in rows:
            if row.flag("reference"):
                continue
            record = row["accuracy"][key][index]
            numbers = (record.number(name, kind) for _, name, kind in _OUTPUTS[key])
            told.append(Row((label_of(row), *numbers, gate_of(row))))
        titles = columns("engine", *(title for title, _, _ in _OUTPUTS[key]), "gate")
        yield without_empty_columns(Table(f"Output {output.text('name')}", titles, tuple(told)))


def quantity_section(bench: At) -> Section | None:
    """Clinical quantities of each engine beside those of the reference; None without any."""
    details, found = bench.get("details"), bench.get("quantities")
    if details is None or found is None:
        return None
    default = default_name(bench)
    names = sorted(details.keys(), key=lambda name: name != default)
    tables: list[Block] = [
        Table(table.caption, table.columns, table.rows, table.legend, is_folded=name != default)
        for name in names
        for table in _quantities(name, details[name])
    ]
    if not tables:
        return None
    tables.append(_definitions(found))
    intro = (
        "Angles and distances that are read from the landmarks, computed once with the engine's "
        "and once with the reference's: engine minus reference."
    )
    return Section("quantities", "Clinical quantities", intro, tuple(tables))


def _quantities(name: str, details: At) -> Iterator[Table]:
    found = details.get("quantities")
    if found is None or not found.value:
        return
    for unit, kind in (("deg", "deg"), ("mm", "mm"), ("ratio", "ratio")):
        some = [each for each in found.items() if each.text("unit") == unit]
        if some:
            yield _quantity_table(name, some, unit, kind)  # type: ignore[arg-type]


_UNIT_WORDS = {"deg": "degrees", "mm": "millimetres", "ratio": "ratios"}


def _quantity_table(name: str, found: list[At], unit: str, kind: Kind) -> Table:
    ends = [each.number(key, kind).value for each in found for key in ("bias",)]
    for each in found:
        around = each.get("bias_interval")
        ends += [around.number(k, kind).value for k in (0, 1)] if around is not None else []
    axis = axis_over(ends, zero=True)
    rows = tuple(
        Row(
            (
                each.text("name"),
                Strip(_bias_marks(each, axis, kind)),
                *(each.number(key, kind) for key in ("reference_mean", "engine_mean")),
                with_interval(each, "bias", kind, "bias_interval", signed=True),
                *(each.number(key, kind) for key in ("spread", "p95", "max")),
                each.number("images", "count"),
            )
        )
        for each in found
    )
    titles = (
        *(Column("quantity", is_name=True), Column("difference", axis)),
        *(Column("reference"), Column("engine"), Column("difference, 95% interval")),
        *(Column("spread"), Column("p95"), Column("largest"), Column("images")),
    )
    caption = f"{name}: quantities in {_UNIT_WORDS[unit]}"
    return without_empty_columns(Table(caption, titles, rows, _QUANTITY_LEGEND))


def _bias_marks(each: At, axis: Axis | None, kind: Kind) -> tuple[Mark, ...]:
    bias, around = each.number("bias", kind).value, each.get("bias_interval")
    if axis is None or bias is None:
        return ()
    marks = [Mark("rule", axis.at(0.0), tone="faint")]
    if around is not None:
        low, high = (around.number(k, kind).value or 0.0 for k in (0, 1))
        marks.append(Mark("line", axis.at(low), axis.at(high)))
    return (*marks, Mark("dot", axis.at(bias)))


def _definitions(found: At) -> Table:
    rows = [
        Row((each.text("name"), each.text("kind"), _points(each), each.text("source")))
        for each in found["definitions"].items()
    ]
    skipped = found.get("skipped")
    rows += [
        Row((each.text("name"), "not measured", each.text("reason"), ""), "quiet")
        for each in (skipped.items() if skipped is not None else ())
    ]
    titles = columns("quantity", "kind", "points", "source")
    return Table("Definitions", titles, tuple(rows), is_folded=True)


def _points(each: At) -> str:
    points = each.get("points")
    if points is None:
        return ""
    return ", ".join(str(item.value) for item in points.items())
