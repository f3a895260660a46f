from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fake_cuda import FakeCuda
from numpy.typing import NDArray

from mahtrt.cuda.probe import probe_cuda
from mahtrt.errors import MahtrtError, MissingComponentError
from mahtrt.targets.tensorrt import cuda_driver
from mahtrt.targets.tensorrt.cuda_driver import CudaDevice, open_device

OpenFake = Callable[[FakeCuda], CudaDevice]


@pytest.fixture
def open_fake(monkeypatch: pytest.MonkeyPatch) -> OpenFake:
    def open_it(cuda: FakeCuda) -> CudaDevice:
        monkeypatch.setattr(cuda_driver, "load_library", lambda name: cuda)
        return open_device(needed_for="the test")

    return open_it


def round_trip(device: CudaDevice, values: NDArray[np.float32]) -> None:
    """From the host to the GPU and back, leaving nothing behind."""
    with device:
        stream, address = device.create_stream(), device.allocate(values.nbytes)
        pinned = device.allocate_pinned(values.shape)
        device.copy_to_device(address, values, stream)
        device.copy_to_host(pinned, address, stream)
        device.synchronize(stream)
        np.testing.assert_array_equal(pinned, values)
        device.free_pinned(pinned)
        device.free(address)
        device.destroy_stream(stream)
    device.close()


def test_a_round_trip_through_the_gpu(open_fake: OpenFake) -> None:
    cuda = FakeCuda()
    device = open_fake(cuda)
    assert (device.name, device.capability) == ("NVIDIA RTX 4090", "SM89")
    round_trip(device, np.arange(6, dtype=np.float32).reshape(2, 3))
    device.close()
    assert (cuda.memory, cuda.streams, cuda.contexts, cuda.retained) == ({}, set(), 0, 0)
    assert not any("CtxCreate" in call for call in cuda.calls), "only the primary context"


def test_the_context_is_left_when_the_work_fails(open_fake: OpenFake) -> None:
    cuda = FakeCuda()
    device = open_fake(cuda)
    with pytest.raises(ZeroDivisionError), device:
        _ = 1 / 0
    assert cuda.contexts == 0


def test_errors_have_their_names_and_memory_what_is_free(open_fake: OpenFake) -> None:
    device = open_fake(FakeCuda(cuMemAlloc_v2=2))
    with device, pytest.raises(MahtrtError, match="cuMemAlloc_v2: got error 2") as caught:
        device.allocate(1 << 40)
    assert "CUDA_ERROR_OUT_OF_MEMORY" in str(caught.value)
    assert "3 of 24576 MiB are free" in caught.value.fix
    device = open_fake(FakeCuda(cuStreamSynchronize=700))
    with device, pytest.raises(MahtrtError, match="CUDA_ERROR_ILLEGAL"):
        device.synchronize(1)


def test_no_driver_and_no_device_are_missing_components(
    open_fake: OpenFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> Any:
        raise OSError(name)

    monkeypatch.setattr(cuda_driver, "load_library", absent)
    with pytest.raises(MissingComponentError, match="no NVIDIA driver") as caught:
        open_device(needed_for="engine x")
    assert caught.value.exit_code == 6
    assert caught.value.subject == "engine x"
    with pytest.raises(MissingComponentError, match=r"100 \(CUDA_ERROR_NO_DEVICE\)"):
        open_fake(FakeCuda(cuInit=100))
    with pytest.raises(MissingComponentError, match="sees no device"):
        open_fake(FakeCuda(()))


@pytest.mark.skipif(not probe_cuda().problem, reason="this machine has a GPU")
def test_the_real_library_on_a_machine_without_a_gpu() -> None:
    with pytest.raises(MissingComponentError, match=r"[Dd]river"):
        open_device(needed_for="the test")


@pytest.mark.gpu
@pytest.mark.skipif(bool(probe_cuda().problem), reason=probe_cuda().problem or "a GPU is here")
def test_a_round_trip_through_a_real_gpu() -> None:
    values = np.random.default_rng(0).normal(size=(3, 1000)).astype(np.float32)
    round_trip(open_device(needed_for="the test"), values)
