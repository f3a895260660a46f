"""The measurement of kernels: without a GPU, and whole on a fake one."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_driver import FakeDriver
from kernels_on_fake_gpu import teach
from programs import run_python

from mahtrt.cuda.bindings import open_device
from mahtrt.cuda.probe import probe_cuda
from mahtrt.cuda.soft_argmax_launch import SoftArgmax

SCRIPT = Path(__file__).resolve().parents[2] / "experiments/kernel_bandwidth.py"


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("kernel_bandwidth", SCRIPT)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for the names of annotations
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(not probe_cuda().problem, reason="a GPU is here")
def test_without_a_gpu_one_line_says_so() -> None:
    ended = run_python(SCRIPT)
    assert ended.returncode == 6
    assert ended.stdout == ""
    assert ended.stderr.startswith("kernel_bandwidth: ")
    assert ended.stderr.count("\n") == 1
    assert "no NVIDIA driver" in ended.stderr


@pytest.mark.slow
def test_all_of_it_runs_on_a_fake_gpu(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "ROTATED_BYTES", 2**14)
    monkeypatch.setattr(script, "COPIED_BYTES", 2**16)
    monkeypatch.setattr(script, "_eager_us", lambda *_: (5000.0, ""))
    monkeypatch.setattr(script, "_median_of_rounds", lambda round_us, _: max(round_us(2), 1.0))
    monkeypatch.setattr(script, "RECORDED", 4)
    monkeypatch.setattr(script, "PARTS", (1, 4))
    cases = (
        SoftArgmax((2, 3, 16, 24), "float16", 0.05, (64, 96)),
        SoftArgmax((1, 1, 128, 96), "float32", 0.05, (128, 96)),
        SoftArgmax((1, 2, 8, 12), "bfloat16", 0.05, (64, 96), logits_size=(16, 24)),
    )
    driver = FakeDriver()
    teach(driver, "soft_argmax")
    with open_device(needed_for="a test", driver=driver) as device:
        record = script.measure(device, cases, 0.0)
    device.close()
    driver.check()
    rows = json.loads(json.dumps(record))["rows"]
    assert [row["agrees"] for row in rows] == [True, True, True]
    assert rows[1]["parts"] > 1
    assert max(row["displacement_px"] for row in rows) < 1e-3
    assert set(record["bars"]) == {"share_of_copy", "speedup_over_eager", "held"}


def test_the_bars_case_comes_first(script: Any) -> None:
    first = script.cases()[0]
    assert (first.shape, first.dtype) == ((64, 7, 512, 512), "float16")


@pytest.mark.parametrize(("limit_us", "by"), [(1e9, "graph"), (0.0, "host")])
def test_short_kernels_are_launched_by_a_graph_of_many(
    script: Any, monkeypatch: pytest.MonkeyPatch, limit_us: float, by: str
) -> None:
    monkeypatch.setattr(script, "RECORDED_US", limit_us)
    monkeypatch.setattr(script, "RECORDED", 7)
    monkeypatch.setattr(script, "_median_of_rounds", lambda round_us, _: 70.0 + 0 * round_us(2))
    asked: list[int] = []
    driver = FakeDriver()
    with open_device(needed_for="a test", driver=driver) as device:
        stream, memory = device.create_stream(), device.allocate(16)

        def act(index: int) -> None:
            asked.append(index)
            device.fill_zero(memory.address, 16, stream)

        found = script._median_us(device, stream, act, 0.0)
        memory.free()
        stream.close()
    device.close()
    driver.check()
    probing = [*range(3), *range(20)]
    if by == "graph":  # 7 acts are recorded once, and each launch is of all of them
        assert asked == probing + list(range(7))
        assert found == script.Timed(10.0, "graph")
    else:
        assert asked == [*probing, 0, 1]
        assert found == script.Timed(70.0, "host")


def test_a_graph_holds_every_rotated_input(script: Any) -> None:
    assert script.RECORDED >= script.MOST_ROTATED


@pytest.mark.gpu
@pytest.mark.skipif(bool(probe_cuda().problem), reason=probe_cuda().problem or "a GPU is here")
def test_the_measurement_on_a_real_gpu(tmp_path: Path) -> None:
    ended = run_python(SCRIPT, "--seconds=0.05", "--out", tmp_path / "kernels.json")
    assert ended.returncode == 0, ended.stderr
    record = json.loads(ended.stdout.splitlines()[-1])
    assert record == json.loads((tmp_path / "kernels.json").read_text(encoding="utf-8"))
    assert all(row["agrees"] for row in record["rows"])
