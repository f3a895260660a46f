"""Cold starts, sizes, throughput and the roofline of a bench, as tables of at most 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mahtrt.verbs.rendering import line

if TYPE_CHECKING:
    from mahtrt.benchmarks.measures import Measures, Roofline, Sizes, Startup, Throughput

MIB = 2**20
NAME_WIDTH = 24  # of engines; a longer name goes on in the next line

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
    columns = ("cold ms", "open ms", "first ms", "memory MiB", "peak", "files")
    table = _table("start", *columns)
    for row in rows:
        size = None if sizes is None else sizes.engines.get(row.name)
        cells = (row.cold_start_ms.p50, row.open_ms, row.first_result_ms)
        cells += (row.resident_mib, row.peak_mib)  # type: ignore[assignment]
        table.add_row(row.name, *map(_whole, cells), "" if size is None else _mib(size))
    return table


def _throughput_table(rows: Sequence[Throughput]) -> RenderableType:
    table = _table("throughput", "batch", "callers", "images/s", "p50 ms", "p99 ms")
    for row in rows:
        times = (f"{row.p50_ms:.1f}", f"{row.p99_ms:.1f}")
        counts = (str(row.batch), str(row.streams))
        table.add_row(row.name, *counts, f"{row.images_per_s:.1f}", *times)
    return table


def _limits_table(roofline: Roofline) -> RenderableType:
    table = _table("limit of", "precision", "threads", "GFLOP/s", "operation")
    for each in roofline.limits:
        threads = "" if each.threads is None else str(each.threads)
        cells = (each.precision, threads, f"{each.gflops_per_s:.0f}", each.operation)
        table.add_row(each.runtime, *cells)
    return table


def _roofline_table(roofline: Roofline) -> RenderableType:
    network = f"{roofline.network_gflop_per_image:.3g} GFLOP"
    table = _table(f"roofline, {network}", "p50 ms", "floor ms", "of limit")
    for row in roofline.rows:
        times = (f"{row.engine_p50_ms:.2f}", f"{row.floor_ms:.2f}")
        table.add_row(row.name, *times, f"{100 * row.share_of_limit:.0f}%")
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(first, overflow="fold", max_width=NAME_WIDTH)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _whole(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _mib(size: int) -> str:
    return f"{size / MIB:.1f}"
