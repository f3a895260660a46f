"""The soak on a fake driver: what grows, differs or is not given back is seen."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_driver import FakeDriver, Kernel
from programs import run_python

from mahtrt.cuda.bindings import BindingsDevice, open_device
from mahtrt.cuda.probe import probe_cuda

ROOT = Path(__file__).parents[2]
ENTRY = "mahtrt_preprocess_u8_f32"


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("experiments.gpu_soak")


@pytest.fixture
def driver(soak: Any) -> FakeDriver:
    """A driver whose kernel writes the first grey levels."""

    def run(memory: Any, grid: Any, block: Any, image: int, *rest: Any) -> None:
        count = int(np.prod(soak.INPUT))
        levels = memory.array(image, (count,), np.uint8)
        memory.array(rest[-1], (count,), np.float32)[...] = levels

    types = (ctypes.c_void_p, ctypes.c_longlong, *(ctypes.c_int,) * 15, *(ctypes.c_float,) * 6)
    made = FakeDriver()
    made.kernels[ENTRY] = Kernel((*types, ctypes.c_void_p), run)
    return made


@pytest.fixture
def device(driver: FakeDriver) -> Iterator[BindingsDevice]:
    opened = open_device(needed_for="a test", driver=driver)
    yield opened
    opened.close()
    driver.check()


@pytest.fixture
def _shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels from the shipped PTX: nothing is compiled."""
    monkeypatch.setattr(
        "mahtrt.cuda.compile.compiled_kernel",
        lambda name, capability: importlib.import_module("mahtrt.cuda.compile").CompiledKernel(
            importlib.import_module("mahtrt.cuda.compile").shipped_ptx(name), "shipped PTX"
        ),
    )


@pytest.mark.usefixtures("_shipped")
def test_buffers_graph_and_kernel_stay_as_they_are(soak: Any, device: BindingsDevice) -> None:
    found = soak.soak(lambda: soak.KernelWork(device), device, 120, 60.0)
    assert found["problem"] == "" or found["problem"].startswith("memory of the process grew")
    assert (found["runs"], found["openings"], found["differing"]) == (120, 3, 0)
    assert found["grown_device_bytes"] == 0
    assert "every second time a graph" in found["what"]
    assert len(found["looks"]) == 21


class Leaky:
    """Keeps memory of the card, and gives another result once."""

    what = "leaky"

    def __init__(self, device: Any) -> None:
        self.device, self.runs, self.kept = device, 0, []  # type: ignore[var-annotated]

    def run(self) -> bytes:
        self.runs += 1
        with self.device:
            self.kept.append(self.device.allocate(1 << 20))
        return b"other" if self.runs == 30 else b"same"

    def close(self) -> None:
        with self.device:
            for each in self.kept:
                each.free()


def test_what_grows_or_differs_is_seen(soak: Any, device: BindingsDevice) -> None:
    found = soak.soak(lambda: Leaky(device), device, 40, 60.0)
    assert "memory of the card grew by 32.0 MiB" in found["problem"]
    assert "1 results differ from the first" in found["problem"]


def test_the_time_is_kept(soak: Any, device: BindingsDevice) -> None:
    class Slow(Leaky):
        run: Callable[..., bytes] = lambda self: __import__("time").sleep(0.01) or b""

    found = soak.soak(lambda: Slow(device), device, 10_000, 0.5)
    assert found["runs"] < 60
    assert found["asked_runs"] == 10_000


def test_growth_is_counted_from_a_fifth_of_the_way(soak: Any) -> None:
    def looks(*mib: int) -> list[Any]:
        return [soak.Look(i, each << 20, 0, 5, 2) for i, each in enumerate(mib)]

    assert soak.conclude(looks(1, 50, 90, 90, 90, *[90] * 16), 0)["problem"] == ""
    grown = soak.conclude(looks(*[90] * 20, 95), 0)
    assert grown["problem"] == "memory of the process grew by 5.0 MiB"
    files = [*looks(*[9] * 20), soak.Look(20, 9 << 20, 0, 6, 3)]
    assert soak.conclude(files, 0)["problem"] == "files went from 5 to 6; threads went from 2 to 3"


@pytest.mark.skipif(not probe_cuda().problem, reason="this machine has a GPU")
def test_without_a_gpu_it_is_refused() -> None:
    ended = run_python(ROOT / "experiments/gpu_soak.py")
    assert (ended.returncode, ended.stdout) == (6, "")
    assert len(ended.stderr.splitlines()) == 1
