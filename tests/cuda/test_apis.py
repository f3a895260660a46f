"""Which package calls the CUDA driver."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from fake_driver import FakeDriver
from fake_pycuda import FakePycuda

from mahtrt.cuda import apis, bindings, pycuda_device
from mahtrt.cuda.apis import open_device
from mahtrt.cuda.probe import CudaProbe
from mahtrt.errors import MissingComponentError, UsageError


class Installed:
    """A host with a GPU, and some of the packages."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
        self.bindings, self.pycuda = FakeDriver(), FakeDriver()
        modules = {"cuda.bindings": self.bindings, "pycuda": FakePycuda(self.pycuda)}
        for module in (apis, bindings, pycuda_device):
            monkeypatch.setattr(module, "probe_cuda", CudaProbe)
        monkeypatch.setattr(apis, "_is_installed", lambda package: package in packages)

        def required(module: str, **_: Any) -> Any:
            name = module.removesuffix(".driver")
            return modules[name] if module.endswith(".driver") else sys.modules[__name__]

        monkeypatch.setattr(bindings, "require", required)
        monkeypatch.setattr(pycuda_device, "require", required)


VERSION_TEXT = "2026.1"


def test_cuda_bindings_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cuda.bindings")
    host = Installed(monkeypatch, "cuda.bindings", "pycuda")
    device = open_device(needed_for="a test")
    assert device.api.startswith("cuda-bindings 1")
    device.close()
    host.bindings.check()


def test_pycuda_is_next(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Installed(monkeypatch, "pycuda")
    device = open_device(needed_for="a test")
    assert device.api == "pycuda 2026.1"
    assert host.pycuda.retained == [1]
    device.close()


def test_one_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    Installed(monkeypatch, "cuda.bindings", "pycuda")
    assert open_device(needed_for="a test", api="pycuda").api == "pycuda 2026.1"
    with pytest.raises(UsageError, match="got cupy; expected auto, cuda-bindings, pycuda"):
        open_device(needed_for="a test", api="cupy")


def test_without_either_the_extras_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    Installed(monkeypatch)
    with pytest.raises(MissingComponentError) as caught:
        open_device(needed_for="engine x")
    assert str(caught.value) == (
        "engine x: got no Python package cuda-bindings or pycuda; expected one that calls the CUDA "
        "driver. Install one: pip install 'mahtrt[gpu]' or pip install 'mahtrt[pycuda]'."
    )
    assert caught.value.exit_code == 6


def test_without_a_gpu_that_is_what_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apis, "probe_cuda", lambda: CudaProbe(problem="the driver sees no device"))
    with pytest.raises(MissingComponentError, match=r"engine x: got the driver sees no device"):
        open_device(needed_for="engine x")


def test_what_is_installed_is_found() -> None:
    assert apis._is_installed("numpy.linalg")
    assert not apis._is_installed("no_such_package.inside")
    assert not apis._is_installed("no_such_package")
