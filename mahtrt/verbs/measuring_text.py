"""Cold starts, sizes, throughput and the roofline of a bench, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from mahtrt.verbs.rendering import line
from mahtrt.verbs.tables import Column, FittedTable, numbers

if TYPE_CHECKING:
    from mahtrt.benchmarks.measures import Measures, Roofline, Sizes, Startup, Throughput

MIB = 2**20

STARTUP_LEGEND = "cold start: a fresh process to its first result, files in the page cache."
SIZES_LEGEND = "files: of the engine, on disk; engines may share some."
THROUGHPUT_LEGEND = "callers: threads that share one session, each with an image after the other."
ROOFLINE_LEGEND = (
    "floor: the products of the network at the limits, each in its own precision.",
    "of limit: floor by p50 of the scope engine; 100% could not be faster.",
)


def measuring_tables(measures: Measures) -> list[RenderableType]:
    """A table for each part that was measured, with an empty line before it."""
    return [each for table in _tables(measures) for each in (Text(), table)]


def measuring_legend(measures: Measures) -> tuple[str, ...]:
    """What the columns of these tables mean."""
    told: tuple[str, ...] = (STARTUP_LEGEND,) if measures.startup else ()
    told += (SIZES_LEGEND,) if measures.sizes else ()
    told += (THROUGHPUT_LEGEND,) if measures.throughput else ()
    return (*told, *(ROOFLINE_LEGEND if measures.roofline else ()))


def _tables(measures: Measures) -> Iterator[RenderableType]:
    if measures.startup:
        yield _startup_table(measures.startup, measures.sizes)
    if measures.sizes:
        yield line(f"bundle: {_mib(measures.sizes.bundle_bytes)} MiB on disk")
    if measures.throughput:
        yield _throughput_table(measures.throughput)
    if measures.roofline:
        yield _limits_table(measures.roofline)
        yield _roofline_table(measures.roofline)


def _startup_table(rows: Sequence[Startup], sizes: Sizes | None) -> RenderableType:
    names = ("cold ms", "open ms", "first ms", "memory MiB", "peak", "files")
    cells = []
    for row in rows:
        size = None if sizes is None else sizes.engines.get(row.name)
        times = (row.cold_start_ms.p50, row.open_ms, row.first_result_ms)
        memory = (row.resident_mib, row.peak_mib)
        told = "" if size is None else _mib(size)
        cells.append((row.name, *map(_whole, times), *map(_whole, memory), told))
    return FittedTable((Column("start"), *numbers(*names)), cells)


def _throughput_table(rows: Sequence[Throughput]) -> RenderableType:
    names = ("batch", "callers", "images/s", "p50 ms", "p99 ms")
    cells = [
        (
            *(row.name, str(row.batch), str(row.streams), f"{row.images_per_s:.1f}"),
            *(f"{row.p50_ms:.1f}", f"{row.p99_ms:.1f}"),
        )
        for row in rows
    ]
    return FittedTable((Column("throughput"), *numbers(*names)), cells)


def _limits_table(roofline: Roofline) -> RenderableType:
    columns = (Column("limit of"), Column("precision"), *numbers("threads", "GFLOP/s"))
    cells = [
        (
            *(each.runtime, each.precision, "" if each.threads is None else str(each.threads)),
            *(f"{each.gflops_per_s:.0f}", each.operation),
        )
        for each in roofline.limits
    ]
    return FittedTable((*columns, Column("operation", is_prose=True)), cells)


def _roofline_table(roofline: Roofline) -> RenderableType:
    network = f"{roofline.network_gflop_per_image:.3g} GFLOP"
    columns = (Column(f"roofline, {network}"), *numbers("p50 ms", "floor ms", "of limit"))
    cells = [
        (
            *(row.name, f"{row.engine_p50_ms:.2f}", f"{row.floor_ms:.2f}"),
            f"{100 * row.share_of_limit:.0f}%",
        )
        for row in roofline.rows
    ]
    return FittedTable(columns, cells)


def _whole(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _mib(size: int) -> str:
    return f"{size / MIB:.1f}"
