"""Cold starts: processes of their own, and what is told of those that fail."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_network as tiny

from mahtrt.benchmarks import startup
from mahtrt.benchmarks.cold_start import memory_mib
from mahtrt.benchmarks.sizes import sizes_of
from mahtrt.benchmarks.startup import ColdStarts, measure_startup
from mahtrt.bundle.bundle import read_bundle

GOOD = '{"open_ms": 5.0, "first_result_ms": 2.0, "resident_mib": 7.0}'


def start(program: str, count: int = 1, engines: tuple[str, ...] = ("e",)) -> Any:
    """Cold starts of a Python program in place of an engine."""
    asked = ColdStarts(Path("b"), engines, (np.zeros((2, 2), np.uint8),), count)
    return measure_startup(asked, lambda *_: None, program=("-c", program))


def test_an_engine_starts_in_a_process_without_pytorch(tiny_bundle: Path) -> None:
    image, _ = tiny.make_image(1)
    told: list[tuple[int, int]] = []
    asked = ColdStarts(tiny_bundle, ("openvino-fp32",), (image,), 1, threads=1)
    watched = (
        "import sys, atexit; from mahtrt.benchmarks.cold_start import main; main(sys.argv[1]);"
        "sys.exit('torch is there' if {'torch', 'onnx'} & set(sys.modules) else 0)"
    )
    (row,), failed = measure_startup(
        asked, lambda *done: told.append(done), program=("-c", watched)
    )
    assert failed == ()
    assert told == [(1, 1)]
    assert row.name == "openvino-fp32"
    assert 0 < row.first_result_ms < row.cold_start_ms.p50
    assert row.open_ms + row.first_result_ms < row.cold_start_ms.min
    assert row.cold_start_ms.samples == (row.cold_start_ms.max,)
    if sys.platform == "linux":
        assert row.resident_mib is not None
        assert row.peak_mib is not None
        assert 20 < row.resident_mib <= row.peak_mib < 4096


def test_the_program_says_why_it_cannot_start(tiny_bundle: Path) -> None:
    image, _ = tiny.make_image(1)
    rows, failed = measure_startup(ColdStarts(tiny_bundle, ("none",), (image,), 3), lambda *_: None)
    assert rows == ()
    assert len(failed) == 1  # and is not tried again
    assert failed[0].startswith("none has no cold start: its process: got engine 'none' of tiny")


def test_medians_of_several_starts() -> None:
    (row,), failed = start(f"print('a library speaks'); print('{GOOD}')", count=3)
    assert failed == ()
    assert (row.open_ms, row.first_result_ms) == (5.0, 2.0)
    assert (row.resident_mib, row.peak_mib) == (7.0, None)
    assert len(row.cold_start_ms.samples) == 3
    assert row.cold_start_ms.min == min(row.cold_start_ms.samples)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import sys; sys.exit(3)", "no result, exit code 3"),
        ("import os; os.kill(os.getpid(), 9)", "no result, exit code -9"),
        ("raise ValueError('broken')", "ValueError: broken"),
        ("print('{')", "text that is not JSON"),
        ("print('{}')", "another line than its times"),
    ],
)
def test_a_process_that_fails_is_a_warning(program: str, reason: str) -> None:
    rows, failed = start(program)
    assert rows == ()
    assert reason in failed[0]


def test_a_process_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "LIMIT_S", 0.2)
    _, failed = start("import time; time.sleep(60)")
    assert "no result, exit code" in failed[0]


def test_a_process_that_cannot_be_started_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    _, failed = start("pass")
    assert "e has no cold start" in failed[0]


def test_ctrl_c_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupting:
        def __init__(self, *_: object) -> None:
            pass

        def start(self) -> None:
            raise KeyboardInterrupt

        def cancel(self) -> None:
            pass

    monkeypatch.setattr(threading, "Timer", Interrupting)
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        start("import time; time.sleep(60)")
    assert time.monotonic() - begun < 30


def test_memory_as_far_as_the_system_tells(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t    4096 kB\nVmRSS:\t    2048 kB\n")
    assert memory_mib(status) == {"resident_mib": 2.0, "peak_mib": 4.0}
    status.write_text("Name:\tpython\n")
    assert memory_mib(status) == {}
    assert set(memory_mib(tmp_path / "none")) <= {"peak_mib"}


def test_sizes_are_those_of_the_files(tiny_bundle: Path) -> None:
    bundle = read_bundle(tiny_bundle)
    found = sizes_of(bundle)
    on_disk = {p: p.stat().st_size for p in tiny_bundle.rglob("*") if p.is_file()}
    assert found.bundle_bytes == sum(on_disk.values())
    for engine in bundle.manifest.engines:
        expected = sum(on_disk[tiny_bundle / path] for path in set(engine.files.values()))
        assert found.engines[engine.name] == expected
