"""INT8 that is not faster than half precision on a GPU is no default, and the report says so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mahtrt.benchmarks.conditions import find_warnings
from mahtrt.benchmarks.int8_gain import gains_of_int8
from mahtrt.benchmarks.report import BenchReport, Row
from mahtrt.build.judge import default_engine
from mahtrt.bundle.records import VerdictRecord
from mahtrt.measure.accuracy import LandmarkSet, measure
from mahtrt.measure.timing import Timings

POINTS = LandmarkSet(np.zeros((1, 1, 2)), np.zeros((1, 1, 2)))
NOTHING = measure(POINTS, POINTS, ("sella",))
NOISE = np.random.default_rng(0).normal(1.0, 0.02, 30)
PASS, FAIL = VerdictRecord(True, ()), VerdictRecord(False, ("too far",))


def row(precision: str, ms: float | None, *, device: str = "cuda:0 NVIDIA H200") -> Row:
    times = None if ms is None else Timings(tuple(ms * NOISE))
    return Row(
        f"tensorrt-{precision}", "tensorrt", precision, 1, "engine", times, NOTHING,
        gate=PASS, device=device,
    )  # fmt: skip


def default(*rows: Row) -> str:
    report = BenchReport({}, {}, {}, {}, rows, None)
    return default_engine(report, {each.name: each.gate for each in rows if each.gate})


@pytest.mark.parametrize("int8_ms", [1.5, 1.0, 0.9995])
def test_int8_that_gains_nothing(int8_ms: float) -> None:
    noisy = replace(row("int8", None), timings=Timings(tuple(int8_ms * NOISE[::-1])))
    rows = (row("fp32", 3.0), row("fp16", 1.0), noisy)
    assert default(*rows) == "tensorrt-fp16"
    (sentence,) = gains_of_int8(rows).values()
    assert sentence.startswith("tensorrt-int8 is not faster than tensorrt-fp16 on cuda:0 NVIDIA")
    assert sentence.endswith("so INT8 is no default on this GPU")
    assert sentence in find_warnings(rows, load=None)
    (sentence,) = gains_of_int8((*rows[:2], replace(noisy, is_default=True))).values()
    assert sentence.endswith("although it is this bundle's: build or compile it here")


def test_int8_that_is_faster_is_the_default() -> None:
    rows = (row("fp16", 1.0), row("bf16", 1.1), row("int8", 0.8))
    assert default(*rows) == "tensorrt-int8"
    assert gains_of_int8(rows) == {}


def test_bf16_and_a_failed_fp16() -> None:
    fp16, bf16, int8 = row("fp16", 0.5), row("bf16", 1.0), row("int8", 0.8)
    assert "tensorrt-fp16" in gains_of_int8((fp16, bf16, int8))["tensorrt-int8"]
    failed = replace(fp16, gate=FAIL)  # nobody would run it
    assert gains_of_int8((failed, bf16, int8)) == {}
    assert default(failed, bf16, int8) == "tensorrt-int8"


def test_where_the_rule_says_nothing() -> None:
    cpu = [row(precision, 1.0, device="cpu") for precision in ("bf16", "int8")]
    assert gains_of_int8(cpu) == {}
    assert gains_of_int8([row("fp32", 1.0), row("int8", 2.0)]) == {}  # no half precision
    untimed = [row("fp16", None), row("int8", None)]
    assert gains_of_int8(untimed) == {}
    assert default(*untimed) == "tensorrt-int8"  # what the user came for
    other = replace(row("fp16", 0.1), backend="onnxruntime")
    assert gains_of_int8([other, row("int8", 2.0)]) == {}


def test_int8_alone_is_the_default() -> None:
    assert default(row("int8", 5.0)) == "tensorrt-int8"
