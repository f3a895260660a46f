"""Section of speed: distributions of times, start, throughput, distance to the limit."""

from __future__ import annotations

from collections.abc import Iterator

from mahtrt.reporting.blocks import (
    Block,
    Column,
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
from mahtrt.reporting.sections.rows import default_name, is_engine, label_of, rows_of, with_interval
from mahtrt.reporting.strips import Axis, Mark, axis_over, quantile

_SCOPES = {
    "end_to_end": "End to end: image in memory to the result in its pixels",
    "engine": "Network alone: prepared tensor to outputs",
}
_INTRO = (
    "Times are of one call. All rows were measured in turns, round by round, so that a disturbance "
    "of the machine meets each of them; the speed-up is the median of the ratios within a round."
)
_LEGEND = (
    "Drawn: thin line from the 5th to the 95th percentile, bar between the quartiles, stroke at "
    "the median, dot at the 99th percentile."
)
_CHANGE_TONES: dict[str, Tone] = {"better": "pass", "worse": "fail", "not comparable": "warn"}


def speed_section(bench: At) -> Section:
    """What a bench says of time."""
    blocks: list[Block] = [_times(bench, scope) for scope in _SCOPES]
    blocks += [
        table for make in (_changes, _roofline, _throughput, _startup) for table in make(bench)
    ]
    return Section("speed", "Speed", _INTRO, tuple(blocks))


def _times(bench: At, scope: str) -> Table:
    rows = [row for row in rows_of(bench, scope) if row.get("p50_ms") is not None]
    ordered = {id(row): sorted(_samples(row)) for row in rows}
    ends = [quantile(times, share) for times in ordered.values() for share in (0.05, 0.99) if times]
    axis = axis_over([*ends, *(row.number("p99_ms", "ms").value for row in rows)], zero=True)
    titles = (
        *(Column("engine", is_name=True), Column("distribution, ms", axis)),
        *(Column(f"{name}, ms") for name in ("p50", "p90", "p99", "max")),
        *(Column("images/s"), Column("speed-up"), Column("calls")),
    )
    drawn = tuple(_time_row(row, ordered[id(row)], axis, default_name(bench)) for row in rows)
    absent = tuple(_failed_peers(bench, len(titles))) if scope == "end_to_end" else ()
    legend = _LEGEND if any(ordered.values()) else ""
    return without_empty_columns(Table(_SCOPES[scope], titles, (*drawn, *absent), legend))


def _samples(row: At) -> list[float]:
    found = row.get("samples_ms")
    if found is None:
        return []
    times = (found.number(index, "ms").value for index, _ in enumerate(found.items()))
    return [time for time in times if time is not None]


def _time_row(row: At, times: list[float], axis: Axis | None, default: str) -> Row:
    spread = row.get("p50_window_spread")
    unstable = row.flag("unstable") and spread is not None
    name = label_of(row) + (" (default)" if row.text("name") == default else "")
    called = words(name, " unstable, windows differ by ", row.number("p50_window_spread", "share"))
    return Row(
        (
            called if unstable else name,
            Strip(_marks(row, times, axis) if axis is not None else ()),
            *(row.number(f"{key}_ms", "ms") for key in ("p50", "p90", "p99", "max")),
            row.number("images_per_s", "rate"),
            row.number("speedup_vs_reference", "factor"),
            row.number("runs", "count"),
        ),
        "" if is_engine(row) else "quiet",
    )


def _marks(row: At, times: list[float], axis: Axis) -> tuple[Mark, ...]:
    tone = "ink" if is_engine(row) else "quiet"
    p50, p99 = row.number("p50_ms", "ms").value, row.number("p99_ms", "ms").value
    marks = []
    if times:
        thin, thick = (
            (quantile(times, a), quantile(times, b)) for a, b in ((0.05, 0.95), (0.25, 0.75))
        )
        marks.append(Mark("line", axis.at(thin[0]), axis.at(thin[1]), tone))
        marks.append(Mark("bar", axis.at(thick[0]), axis.at(thick[1]), tone))
    if p50 is not None:
        marks.append(Mark("tick", axis.at(p50), tone=tone))
    if p99 is not None:
        marks.append(Mark("dot", axis.at(p99), tone=tone))
    return tuple(marks)


def _failed_peers(bench: At, width: int) -> Iterator[Row]:
    """Peers that were asked for and gave no row, with the reason."""
    peers = bench["conditions"].get("peers")
    if peers is None:
        return
    for name in peers.keys():  # noqa: SIM118 - of a place in a document
        if reason := peers.text(name):
            yield Row((words(name, " did not run: ", reason), *[""] * (width - 1)), "warn")


def _changes(bench: At) -> Iterator[Table]:
    changes = bench.get("changes")
    if changes is None or not changes.value:
        return
    rows = tuple(_change_row(change) for change in changes.items())
    caption = f"Since {bench.text('baseline')}: change of the time relative to the reference"
    titles = columns("engine", "scope", "verdict", "change, 95% interval")
    yield Table(caption, titles, rows)


def _change_row(change: At) -> Row:
    verdict = change.text("verdict")
    told = with_interval(change, "percent", "percent", "interval", signed=True)
    return Row(
        (
            *(change.text("name"), change.text("scope")),
            Status(verdict, _CHANGE_TONES.get(verdict, "")),
            told if told.pieces else change.text("reason"),
        )
    )


def _roofline(bench: At) -> Iterator[Table]:
    roofline = bench.get("roofline")
    if roofline is None:
        return
    limits = tuple(
        Row((each.text("precision"), each.text("operation"), each.number("gflops_per_s", "rate")))
        for each in roofline["limits"].items()
    )
    yield Table(
        "Limit of this machine: what large operations reach here",
        columns("precision", "operation", "GFLOP/s"),
        limits,
    )
    found = list(roofline["rows"].items())
    axis = axis_over([0.0, 1.0], zero=True)
    assert axis is not None  # of two values
    rows = []
    for row in found:
        share = row.number("share_of_limit", "share")
        bar = (Mark("bar", 0.0, axis.at(share.value)),) if share.value is not None else ()
        times = (row.number("engine_p50_ms", "ms"), row.number("floor_ms", "ms"))
        rows.append(Row((row.text("name"), Strip(bar), share, *times)))
    titles = (
        Column("engine", is_name=True),
        Column("share of the limit", axis),
        *(Column("reached"), Column("p50, ms"), Column("least possible, ms")),
    )
    legend = (
        "Least possible: the network's arithmetic at the limits above, in each product's precision."
    )
    yield Table("Roofline: how far from the limit", titles, tuple(rows), legend)


def _throughput(bench: At) -> Iterator[Table]:
    found = bench.get("throughput")
    if found is None or not found.value:
        return
    rows = tuple(
        Row(
            (
                row.text("name"),
                *(row.number(key, "count") for key in ("batch", "streams")),
                row.number("images_per_s", "rate"),
                *(row.number(key, "ms") for key in ("p50_ms", "p99_ms")),
            )
        )
        for row in found.items()
    )
    titles = columns("engine", "batch", "streams", "images/s", "p50, ms", "p99, ms")
    yield Table("Throughput: several callers at once", titles, rows)


def _startup(bench: At) -> Iterator[Table]:
    found, sizes = bench.get("startup"), bench.get("sizes")
    if found is None:
        return
    engines = sizes.get("engines") if sizes is not None else None
    rows = []
    for row in found.items():
        name, cold = row.text("name"), row.get("cold_start_ms")
        size = engines.number(name, "megabytes") if engines is not None else ""
        rows.append(
            Row(
                (
                    name,
                    cold.number("p50", "ms") if cold is not None else "",
                    *(row.number(key, "ms") for key in ("open_ms", "first_result_ms")),
                    *(row.number(key, "mib") for key in ("resident_mib", "peak_mib")),
                    size,
                )
            )
        )
    titles = columns(
        *("engine", "process to result, ms", "opening, ms", "first result, ms"),
        *("resident, MiB", "peak, MiB", "engine, MB"),
    )
    caption = "Start of a new process, files in the page cache"
    yield without_empty_columns(Table(caption, titles, tuple(rows)))
