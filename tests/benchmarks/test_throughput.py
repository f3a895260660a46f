"""Several callers at a time: what is counted, and what stops them."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import tiny_network as tiny
from tiny_bundle import write_tiny

from mahtrt.benchmarks.measuring import check_measuring, read_sweep
from mahtrt.benchmarks.options import BenchOptions
from mahtrt.benchmarks.throughput import measure_throughput, run_window
from mahtrt.bundle.bundle import read_bundle
from mahtrt.errors import UsageError


def test_callers_that_wait_do_not_wait_for_each_other() -> None:
    samples_ms, seconds = run_window([lambda: time.sleep(0.01)] * 4, 0.2)
    assert seconds >= 0.2
    assert min(samples_ms) >= 10
    assert len(samples_ms) * 0.01 > 1.5 * seconds  # one caller alone could not have made as many


def test_each_caller_has_a_thread_and_one_call_at_least() -> None:
    threads = set()

    def call() -> None:
        threads.add(threading.get_ident())
        time.sleep(0.02)

    samples_ms, seconds = run_window([call, call, call], 1e-6)
    assert len(samples_ms) == len(threads) == 3
    assert seconds >= 0.02


def test_a_failure_stops_all_and_is_told() -> None:
    begun = time.perf_counter()

    def fail() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        run_window([fail, lambda: time.sleep(0.001)], 60.0)
    assert time.perf_counter() - begun < 10


@pytest.mark.parametrize("batch", [1, 4])
def test_an_engine_of_any_batch(tiny_bundle: Path, tiny_batch_bundle: Path, batch: int) -> None:
    bundle = read_bundle(tiny_bundle if batch == 1 else tiny_batch_bundle)
    record = bundle.engine("openvino")
    cases = [(tiny.make_image(i)[0],) for i in range(3)]
    found = measure_throughput(bundle, record, cases, 2, seconds=0.05, threads=2)
    assert (found.name, found.batch, found.streams) == (record.name, batch, 2)
    assert found.threads == 2
    assert found.images % batch == 0
    assert found.images_per_s == pytest.approx(found.images / found.seconds)
    assert 0 < found.p50_ms <= found.p99_ms < 1e3 * found.seconds


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cold_starts": -1}, "--cold-starts: got -1; expected 0 or more"),
        ({"streams": (1, 0)}, "--streams: got 0; expected numbers from 1 to 1024"),
        ({"streams": (5000,)}, "--streams: got 5000"),
        ({"stream_seconds": 0.0}, "--stream-seconds: got 0; expected seconds above 0"),
        ({"stream_seconds": float("nan")}, "--stream-seconds: got nan"),
    ],
)
def test_what_cannot_be_measured_with_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_measuring(BenchOptions(Path("b"), **options))  # type: ignore[arg-type]


def test_a_sweep_takes_bundles_of_the_same_network(
    tiny_bundle: Path, tiny_batch_bundle: Path, tmp_path: Path
) -> None:
    bundle = read_bundle(tiny_bundle)
    (other,) = read_sweep(bundle, BenchOptions(tiny_bundle, sweep=(tiny_batch_bundle,)))
    assert other.manifest.engines[0].batch == 4
    stranger = write_tiny(tmp_path / "b")
    with pytest.raises(UsageError, match=r"--sweep .* got a bundle of another network \(fake\)"):
        read_sweep(bundle, BenchOptions(tiny_bundle, sweep=(stranger,)))
