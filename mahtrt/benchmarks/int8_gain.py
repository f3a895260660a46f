"""Whether INT8 is faster than half precision on a GPU: there it often is not.

Tensor cores multiply FP16 fast, and a small network waits for memory and launches, so INT8 has to
show that it pays. An INT8 engine that is not faster beyond doubt than an FP16 or BF16 engine of the
same runtime and batch size is never the default of a bundle, and every report says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from mahtrt.benchmarks.report import Row
from mahtrt.measure.contest import ratio

HALF = ("fp16", "bf16")


def gains_of_int8(rows: Sequence[Row]) -> dict[str, str]:
    """The INT8 engines on a GPU that gain nothing, by name, with a sentence each.

    Args:
        rows: Those of one comparison; only the scope ``engine`` counts.
    """
    engines = [row for row in rows if row.scope == "engine" and row.is_engine and row.timings]
    found = {}
    for row in engines:
        if row.precision != "int8" or not row.device.startswith("cuda"):
            continue
        rival = _rival(row, engines)
        if rival is not None and (sentence := _no_gain(row, rival)):
            found[row.name] = sentence
    return found


def _rival(row: Row, engines: Sequence[Row]) -> Row | None:
    """The fastest engine in half precision that could be run instead."""
    same = (row.backend, row.batch, row.device)
    halves = [
        each
        for each in engines
        if each.precision in HALF
        and (each.backend, each.batch, each.device) == same
        and (each.gate is None or each.gate.passed)
    ]
    return min(halves, key=lambda each: each.timings.p50_ms if each.timings else 0.0, default=None)


def _no_gain(row: Row, rival: Row) -> str:
    """Why INT8 does not pay, "" where it does."""
    assert row.timings is not None
    assert rival.timings is not None
    took = ratio(row.timings, rival.timings)
    if took.is_faster:
        return ""
    return (
        f"{row.name} is not faster than {rival.name} on {row.device}: it takes {took} of its time "
        "(median of the rounds and 99% interval), so INT8 is no default on this GPU"
        + (", although it is this bundle's: build or compile it here" if row.is_default else "")
    )
