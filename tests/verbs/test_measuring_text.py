"""Tables of what is measured beside accuracy and latency: whole at 80 columns."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from rendering import text_of
from rich.console import Group

from mahtrt.benchmarks.measures import (
    MachineLimit,
    Measures,
    Roofline,
    RooflineRow,
    Sizes,
    Spread,
    Startup,
    Throughput,
)
from mahtrt.verbs.measuring_text import measuring_legend, measuring_tables

NAME = "tensorrt-rtx-int8-with-a-long-name"
START = Startup(NAME, Spread(12345.6, 11000.0, 13000.0, (12345.6,)), 9999.9, 888.8, 4096.5, 8192.5)
MEASURES = Measures(
    startup=(START,),
    sizes=Sizes(3 * 2**30, {NAME: 2 * 2**30}),
    throughput=(Throughput(NAME, 16, 128, 64, 12345.67, 1234.5, 12345.6, 100_000, 8.1),),
    roofline=Roofline(
        (MachineLimit("onnxruntime", "int8", "Conv 3x3, 256 to 256 channels, 64x64", 12345.6, 16),),
        123.456,
        (RooflineRow(NAME, "int8", 1234.56, 617.28, 0.5),),
    ),
)


def shown(measures: Measures, width: int) -> str:
    return text_of(Group(*measuring_tables(measures)), width=width)


def test_every_number_is_whole_at_80_columns() -> None:
    text = shown(MEASURES, 80)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    for number in ("12346", "10000", "889", "4096", "8192", "2048.0", "3072.0"):
        assert number in text
    for number in ("16", "128", "12345.7", "1234.5", "12345.6", "617.28", "50%", "123 GFLOP"):
        assert number in text
    assert "".join(text.split()).count("tensorrt-rtx-int8-with-") == 3  # the rest a line below


def test_what_was_not_measured_is_not_there() -> None:
    assert measuring_tables(Measures()) == []
    assert measuring_legend(Measures()) == ()
    assert Measures().to_dict() == {}
    assert len(measuring_legend(MEASURES)) == 5
    assert all(len(line) <= 80 for line in measuring_legend(MEASURES))


def test_what_is_not_known_is_not_in_the_document() -> None:
    unknown = replace(START, resident_mib=None, peak_mib=None)
    (row,) = Measures(startup=(unknown,)).to_dict()["startup"]
    assert {"resident_mib", "peak_mib"}.isdisjoint(row)
    assert row["cold_start_ms"] == {"p50": 12345.6, "min": 11e3, "max": 13e3, "samples": [12345.6]}
    assert "None" not in shown(Measures(startup=(unknown,)), 80)


def test_the_document_is_the_contract() -> None:
    document = json.loads(json.dumps(MEASURES.to_dict()))
    assert set(document) == {"startup", "sizes", "throughput", "roofline"}
    assert set(document["startup"][0]) == {
        *("name", "cold_start_ms", "open_ms", "first_result_ms", "resident_mib", "peak_mib")
    }
    assert {"name", "batch", "streams", "images_per_s", "p50_ms", "p99_ms", "images"} <= set(
        document["throughput"][0]
    )
    assert document["sizes"] == {"bundle_bytes": 3 * 2**30, "engines": {NAME: 2 * 2**30}}
    assert set(document["roofline"]) == {"limits", "network_gflop_per_image", "rows"}
    assert document["roofline"]["rows"][0]["share_of_limit"] == pytest.approx(0.5)
    assert {"precision", "operation", "gflops_per_s", "threads"} <= set(
        document["roofline"]["limits"][0]
    )
