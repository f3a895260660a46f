"""The verdict in plain words, and the numbers that a reader looks for first."""

from __future__ import annotations

from collections.abc import Iterator

from mahtrt.reporting.blocks import Part, Row, Section, Status, Table, Tile, Words, columns, words
from mahtrt.reporting.document import At, Kind, Number
from mahtrt.reporting.sections.rows import (
    default_name,
    label_of,
    row_named,
    rows_of,
    with_interval,
)


def part_of(part: At, sections: tuple[Section, ...], *, name: str) -> Part:
    """All about one bundle: verdict, first numbers and sections."""
    bench = part["bench"]
    passed = bench["verdict"].flag("pass")
    return Part(
        name=name,
        title=bench["model"].text("bundle", "bundle"),
        verdict=Status("Passed" if passed else "Not passed", "pass" if passed else "fail"),
        summary=tuple(_sentences(bench)),
        tiles=tuple(_tiles(bench)),
        reasons=_texts(bench["verdict"], "reasons"),
        warnings=_texts(bench, "warnings"),
        sections=sections,
    )


def _texts(place: At, key: str) -> tuple[str, ...]:
    found = place.get(key)
    return () if found is None else tuple(str(item.value) for item in found.items())


def _judged(bench: At) -> tuple[At | None, At | None]:
    """End to end of the default engine, and of the reference on any device."""
    rows = list(rows_of(bench, "end_to_end"))
    reference = next((row for row in rows if row.flag("reference")), None)
    return row_named(bench, default_name(bench), "end_to_end"), reference


def _sentences(bench: At) -> Iterator[Words]:
    row, reference = _judged(bench)
    if row is None:
        return
    yield words(*_of_time(bench, row))
    yield from _of_accuracy(bench, row, reference)
    conditions = bench["conditions"]
    yield words(
        "Measured on ",
        conditions.number("images", "count"),
        f" images of {conditions.text('data', 'the data set')}",
        f", {conditions.text('date')}." if conditions.text("date") else ".",
    )


def _of_time(bench: At, row: At) -> Iterator[str | Number]:
    verdict = bench["verdict"]
    yield f"The engine {row.text('name')} takes "
    yield row.number("p50_ms", "ms")
    yield " ms from an image to its result in the usual case and at most "
    yield row.number("p99_ms", "ms")
    yield " ms in 99 of 100 cases"
    if verdict.get("latency_budget_ms") is not None:
        yield ("; the budget of " if verdict.flag("latency_pass") else "; over the budget of ")
        yield verdict.number("latency_budget_ms", "plain")
        yield " ms is kept" if verdict.flag("latency_pass") else " ms"
    ratio = row.number("speedup_vs_reference", "factor")
    if ratio.value is not None:
        yield ". The reference takes "
        yield ratio
        yield " its time"
    yield "."


def _of_accuracy(bench: At, row: At, reference: At | None) -> Iterator[Words]:
    accuracy = row["accuracy"]
    if accuracy.number("mean_px", "px").value is not None:
        moved: list[str | Number] = ["Its landmarks lie "]
        moved += [accuracy.number("mean_px", "px"), " px from the reference's on average and "]
        moved += [accuracy.number("max_px", "px"), " px at most, in pixels of the network's input"]
        unit: Kind = "mm" if accuracy.get("delta_mre_mm") is not None else "px"
        change = accuracy.number(f"delta_mre_{unit}", unit, signed=True)
        if change.value is not None:
            called = "mm" if unit == "mm" else "image px"
            moved += ["; the mean error against annotations changes by ", change, f" {called}"]
        yield words(*moved, ".")
    described = bench["conditions"].text("reference")
    if described:
        yield words(f"The reference is {described}.")


def _tiles(bench: At) -> Iterator[Tile]:
    row, reference = _judged(bench)
    if row is None:
        return
    accuracy = row["accuracy"]
    yield Tile("end to end, p50", row.number("p50_ms", "ms"), "ms", label_of(row))
    budget = bench["verdict"].number("latency_budget_ms", "plain")
    note = "" if budget.value is None else words("budget ", budget, " ms")
    yield Tile("end to end, p99", row.number("p99_ms", "ms"), "ms", note)
    if row.get("speedup_vs_reference") is not None and reference is not None:
        against = words("reference ", reference.number("p50_ms", "ms"), " ms")
        yield Tile("speed-up", row.number("speedup_vs_reference", "factor"), "", against)
    if accuracy.get("mean_px") is not None:
        most = words("largest ", accuracy.number("max_px", "px"), " px")
        yield Tile("displacement", accuracy.number("mean_px", "px"), "px", most)
    for unit in ("mm", "px"):
        if accuracy.get(f"mre_{unit}") is not None:
            before = accuracy.number(f"reference_mre_{unit}", unit)
            mre = accuracy.number(f"mre_{unit}", unit)
            yield Tile("MRE", mre, unit, words("reference ", before, f" {unit}"))
            break
    for key in ("maps", "logits"):
        yield from _tile_of_output(accuracy, key)


def _tile_of_output(accuracy: At, key: str) -> Iterator[Tile]:
    found = accuracy.get(key)
    for record in () if found is None else found.items():
        name = record.text("name")
        if key == "maps":
            yield Tile(f"{name}: SSIM", record.number("ssim", "ratio"), "", "1 is the same map")
        else:
            yield Tile(f"{name}: same decisions", record.number("agreement", "share"))


def comparison_of(parts: list[At]) -> Table:
    """Bundles beside each other, by the engine that each is judged by."""
    rows = []
    for number, part in enumerate(parts):
        bench = part["bench"]
        row, _ = _judged(bench)
        passed = bench["verdict"].flag("pass")
        status = Status("passed" if passed else "not passed", "pass" if passed else "fail")
        called = f"{number + 1}. {bench['model'].text('bundle', 'bundle')}"
        rows.append(Row((called, status, *(_compared(bench, row) if row else ("",) * 8))))
    titles = (
        *("bundle", "verdict", "engine", "p50, ms", "p99, ms", "speed-up"),
        *("displacement, px", "MRE, mm", "change, mm", "size, MB"),
    )
    caption = "Bundles beside each other: default engine, end to end"
    return Table(caption, columns(*titles), tuple(rows))


def _compared(bench: At, row: At) -> tuple[str | Number | Words, ...]:
    accuracy, sizes = row["accuracy"], bench.get("sizes")
    return (
        row.text("name"),
        *(row.number(key, "ms") for key in ("p50_ms", "p99_ms")),
        row.number("speedup_vs_reference", "factor"),
        with_interval(accuracy, "mean_px", "px", "mean_px_interval"),
        accuracy.number("mre_mm", "mm"),
        with_interval(accuracy, "delta_mre_mm", "mm", "delta_mre_mm_interval", signed=True),
        "" if sizes is None else sizes.number("bundle_bytes", "megabytes"),
    )
