"""A whole session without any engine's package, on the fake GPU and, marked gpu, on a real one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from fake_driver import FakeDriver
from fake_pycuda import FakePycuda
from identity_backend import IdentityBackend, expected_points, identity_spec, smooth_image
from kernels_on_fake_gpu import teach

from mahtrt.cuda import apis, bindings, pycuda_device
from mahtrt.cuda.device import CudaDevice
from mahtrt.cuda.probe import probe_cuda
from mahtrt.runtime import Session

FAKE_SIZE, REAL_SIZE = (40, 48), (512, 512)


@dataclass(frozen=True)
class Stage:
    """Where a session runs.

    Attributes:
        driver: The fake one; None on a real GPU.
        is_kept: Whether the context stays with the process, as PyCUDA has it.
        threads, runs: How many of a thread's runs are tried.
    """

    device: CudaDevice
    size: tuple[int, int]
    driver: FakeDriver | None
    threads: int
    runs: int
    is_kept: bool = False

    def check(self) -> None:
        """On the fake GPU: everything was used well and given back."""
        if self.driver is not None:
            assert self.driver.retained == [int(self.is_kept)]
            self.driver.retained = [0]
            self.driver.check()

    def image(self, seed: int) -> Any:
        height, width = self.size
        return smooth_image(seed, height * (2 + seed % 3) + seed, width * 2 + 3 * seed)


def _taught_driver() -> FakeDriver:
    driver = FakeDriver()
    for source in ("preprocess", "soft_argmax"):
        teach(driver, source)
    return driver


def fake_stage() -> Stage:
    driver = _taught_driver()
    device = bindings.open_device(needed_for="a test", driver=driver)
    return Stage(device, FAKE_SIZE, driver, threads=3, runs=4)


def pycuda_stage() -> Stage:
    driver = _taught_driver()
    device = pycuda_device.open_device(needed_for="a test", driver=FakePycuda(driver))
    return Stage(device, FAKE_SIZE, driver, threads=3, runs=4, is_kept=True)


def real_stage() -> Stage:
    if problem := probe_cuda().problem:
        pytest.skip(problem)
    device = apis.open_device(needed_for="a test")
    return Stage(device, REAL_SIZE, None, threads=8, runs=1000)


@pytest.fixture(
    params=[
        pytest.param(fake_stage, id="fake"),
        pytest.param(pycuda_stage, id="fake PyCUDA"),
        pytest.param(real_stage, id="real", marks=pytest.mark.gpu),
    ]
)
def stage(request: pytest.FixtureRequest) -> Stage:
    made: Stage = request.param()
    return made


@pytest.fixture
def session(stage: Stage) -> Iterator[Session]:
    spec = identity_spec(stage.size)
    with Session(IdentityBackend(stage.device, spec), spec) as opened:
        yield opened
    stage.check()


def test_landmarks_are_those_of_the_definitions(stage: Stage, session: Session) -> None:
    for seed in range(6):  # plainly, recorded, replayed; of several sizes
        image = stage.image(seed)
        found = session.run(image)
        np.testing.assert_allclose(found.points, expected_points(image, session.spec), atol=5e-3)
        assert found.device == session.device
    problem = stage.device.no_graphs
    assert session.engine_notes == ((f"Without a CUDA graph: {problem}",) if problem else ())
    assert session.facts["cuda_graph"] == (f"none: {problem}" if problem else "recorded")


def test_a_batch_with_places_left(stage: Stage) -> None:
    spec = identity_spec(stage.size)
    with Session(IdentityBackend(stage.device, spec, batch=4), spec) as session:
        images = [stage.image(seed) for seed in range(6)]
        for image, found in zip(images, session.run_batch(images), strict=True):
            np.testing.assert_allclose(found.points, expected_points(image, spec), atol=5e-3)
    stage.check()


def test_threads_get_the_bits_of_a_serial_run(stage: Stage, session: Session) -> None:
    images = [stage.image(seed) for seed in range(stage.threads)]
    wanted = [session.run(image).points.tobytes() for image in images]

    def run(index: int) -> bool:
        return all(
            session.run(images[index]).points.tobytes() == wanted[index] for _ in range(stage.runs)
        )

    with ThreadPoolExecutor(stage.threads) as pool:
        assert all(pool.map(run, range(stage.threads)))


def test_a_stream_overlaps_and_keeps_the_order(stage: Stage, session: Session) -> None:
    images = [stage.image(seed) for seed in range(10)]
    wanted = [session.run(image).points.tobytes() for image in images]
    found = [each.points.tobytes() for each in session.stream(iter(images), depth=3)]
    assert found == wanted


@pytest.mark.gpu
def test_memory_of_a_real_gpu_stays_as_it_is() -> None:
    stage = real_stage()
    spec = identity_spec(stage.size)
    images = [stage.image(seed) for seed in range(4)]
    with Session(IdentityBackend(stage.device, spec), spec) as session:
        for image in images * 3:
            session.run(image)
        with stage.device:
            free, _ = stage.device.memory()
        for _ in range(500):
            for image in images:
                session.run(image)
        with stage.device:
            later, _ = stage.device.memory()
    assert abs(free - later) <= 8 << 20  # other programs may use the card


@pytest.mark.gpu
def test_pytorch_works_beside_a_session_and_shares_memory_with_it() -> None:
    stage = real_stage()
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    spec = identity_spec(stage.size)
    before = torch.arange(1000, device="cuda").sum().item()
    with Session(IdentityBackend(stage.device, spec), spec) as session:
        image = stage.image(1)
        wanted = session.run(image).points
        on_gpu = torch.from_numpy(image).cuda()
        np.testing.assert_array_equal(session.run(on_gpu).points, wanted)
        tensor = torch.rand(1, 3, *stage.size, device="cuda")
        host = session.infer(tensor.cpu().numpy())
        mine = torch.cuda.Stream()
        with torch.cuda.stream(mine):
            doubled = tensor * 2 / 2  # not done yet when it is given on
            for _ in range(3):
                with session.infer_device(doubled, stream=mine) as result:
                    view = torch.as_tensor(result.outputs["landmarks"], device="cuda").clone()
        mine.synchronize()
        np.testing.assert_array_equal(view.cpu().numpy(), host["landmarks"])
        place = torch.zeros(1, 3, 2, device="cuda")
        with session.infer_device(tensor, into={"landmarks": place}) as result:
            result.synchronize()
        np.testing.assert_array_equal(place.cpu().numpy(), host["landmarks"])
    assert torch.arange(1000, device="cuda").sum().item() == before


@pytest.mark.gpu
def test_arrays_of_cupy_are_read_where_they_are() -> None:
    stage = real_stage()
    cupy = pytest.importorskip("cupy")
    spec = identity_spec(stage.size)
    with Session(IdentityBackend(stage.device, spec), spec) as session:
        image = stage.image(2)
        wanted = session.run(image).points
        np.testing.assert_array_equal(session.run(cupy.asarray(image)).points, wanted)
