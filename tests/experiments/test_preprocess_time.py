"""The kernel's time on a fake driver, which runs the kernel's own source on the CPU."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from fake_driver import FakeDriver
from kernels_on_fake_gpu import teach
from programs import run_python

from mahtrt.cuda.bindings import open_device
from mahtrt.cuda.probe import probe_cuda

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT)
    module = importlib.import_module("experiments.preprocess_time")
    monkeypatch.setattr(module, "IMAGE", (150, 121))
    monkeypatch.setattr(module, "LAUNCHES", 2)
    return module


def test_the_tensor_is_the_definitions_and_the_launches_are_timed(script: Any) -> None:
    driver = FakeDriver()
    teach(driver, "preprocess")
    device = open_device(needed_for="a test", driver=driver)
    with device:
        found = script.measure(device, 0.0, rotated=2)
    device.close()
    driver.check()
    assert found["agrees"] is True
    assert found["largest_difference"] == 0
    assert found["kernel_ms"] >= 0
    assert found["bar"]["most_ms"] == 0.1
    assert found["device"] == "NVIDIA H200 (SM90)"


@pytest.mark.skipif(not probe_cuda().problem, reason="this machine has a GPU")
def test_without_a_gpu_it_is_refused() -> None:
    ended = run_python(ROOT / "experiments/preprocess_time.py")
    assert (ended.returncode, ended.stdout) == (6, "")
