"""Images prepared by the kernel on the GPU's memory: the fake GPU runs the kernel's own source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_driver import FakeDriver
from kernels_on_fake_gpu import teach
from numpy.typing import NDArray

from mahtrt.cuda.bindings import BindingsDevice, open_device
from mahtrt.cuda.device import Stream
from mahtrt.cuda.kernel_set import KernelSet
from mahtrt.cuda.slots import DeviceTensor, Slot
from mahtrt.cuda.views import DeviceView
from mahtrt.data.preprocess import preprocess
from mahtrt.errors import ImageError, InputError
from mahtrt.runtime.device_preparation import DevicePreparation, can_prepare
from mahtrt.spec import InputSpec, ModelSpec, OutputSpec

FIRST = InputSpec((24, 32), "first", pad_value=0.25)
SECOND = InputSpec((16, 16), "second", channels=1, mean=(0.5,), std=(0.25,), color_order="gray")
SPEC = ModelSpec("test", (FIRST, SECOND), (OutputSpec("map", "map"),))
BATCH = 3


class NoEngine:
    """Inputs are all that is looked at."""

    def prepare(self, addresses: Mapping[str, int], stream: int) -> None: ...

    def enqueue(self, addresses: Mapping[str, int], stream: int) -> None: ...

    def close(self) -> None: ...


def read(gpu: BindingsDevice, slot: Slot, spec: InputSpec) -> NDArray[np.float32]:
    array = np.empty((BATCH, spec.channels, *spec.size), np.float32)
    gpu.copy_to_host(array, slot.addresses[spec.name], slot.stream)
    slot.stream.synchronize()
    return array


@pytest.fixture
def driver() -> Iterator[FakeDriver]:
    made = FakeDriver()
    teach(made, "preprocess")
    yield made
    made.check()


@pytest.fixture
def gpu(driver: FakeDriver) -> Iterator[BindingsDevice]:
    with open_device(needed_for="a test", driver=driver) as opened:
        yield opened
    opened.close()


@pytest.fixture
def slot(gpu: BindingsDevice) -> Iterator[Slot]:
    tensors = [
        DeviceTensor(each.name, (BATCH, each.channels, *each.size), np.dtype(np.float32), True)
        for each in SPEC.inputs
    ]
    made = Slot(gpu, tensors, NoEngine)
    yield made
    made.free()


@pytest.fixture
def preparation(gpu: BindingsDevice) -> Iterator[DevicePreparation]:
    kernels = KernelSet(gpu)
    yield DevicePreparation(gpu, SPEC, BATCH, kernels)
    kernels.close()


def noise(*shape: int, dtype: Any = np.uint8) -> NDArray[Any]:
    return np.random.default_rng(sum(shape)).integers(0, np.iinfo(dtype).max, shape, dtype)


CASES = [
    (noise(50, 61, 3), noise(40, 16, dtype=np.uint16)),
    (noise(24, 32), noise(16, 16, 1)),
]


def test_a_batch_is_what_the_cpu_prepares(
    gpu: BindingsDevice, slot: Slot, preparation: DevicePreparation
) -> None:
    checked = [tuple(preparation.checked(i, "image") for i in case) for case in CASES]
    fill, placements = preparation.plan(checked)
    fill(slot)
    for number, spec in enumerate(SPEC.inputs):
        found = read(gpu, slot, spec)
        for i, case in enumerate(CASES):
            expected, placement = preprocess(case[number], spec)
            np.testing.assert_array_equal(found[i], expected)
            assert number or placements[i] == placement
        assert not found[len(CASES) :].any()  # places without a case


def on_gpu(
    driver: FakeDriver, gpu: BindingsDevice, image: NDArray[Any], pitch: int = 0, **fields: Any
) -> DeviceView:
    """An image in memory of another library, with rows ``pitch`` bytes apart."""
    row_bytes = image.itemsize * int(np.prod(image.shape[1:]))
    strides = (pitch or row_bytes, *image.strides[1:])
    address = driver.foreign(strides[0] * len(image))
    for i, row in enumerate(image):
        driver.memory.array(address + i * strides[0], (row_bytes,), np.uint8)[...] = np.frombuffer(
            row.tobytes(), np.uint8
        )
    given = strides if pitch else None
    return DeviceView(address, image.shape, image.dtype, given, gpu.ordinal, **fields)


@pytest.mark.parametrize("pitch", [0, 256])
def test_an_image_that_lies_on_the_gpu_is_read_there(
    driver: FakeDriver, gpu: BindingsDevice, slot: Slot, preparation: DevicePreparation, pitch: int
) -> None:
    first, second = CASES[0]
    view = on_gpu(driver, gpu, first, pitch)
    case = (preparation.checked(view, "image"), second)
    fill, _ = preparation.plan([case])
    fill(slot)
    np.testing.assert_array_equal(read(gpu, slot, FIRST)[0], preprocess(first, FIRST)[0])
    driver.drop(view.address)


def test_an_image_is_waited_for(
    driver: FakeDriver, gpu: BindingsDevice, slot: Slot, preparation: DevicePreparation
) -> None:
    """The producer's stream writes the image only when something waits for it."""
    first, second = CASES[0]
    producer: Stream = gpu.adopt_stream(driver.foreign_stream())
    view = on_gpu(driver, gpu, np.zeros_like(first), stream=producer.handle)

    def write() -> None:
        driver.memory.array(view.address, first.shape, np.uint8)[...] = first

    driver.submit(producer.handle, write, [view.address])
    fill, _ = preparation.plan([(preparation.checked(view, "image"), second)])
    fill(slot)
    np.testing.assert_array_equal(read(gpu, slot, FIRST)[0], preprocess(first, FIRST)[0])
    driver.drop(view.address)
    driver.scheduler.streams.pop(producer.handle)


def test_what_the_kernel_cannot_read_is_refused(
    driver: FakeDriver, gpu: BindingsDevice, preparation: DevicePreparation
) -> None:
    view = on_gpu(driver, gpu, noise(20, 30, 3))
    for wrong, error, said in (
        (replace(view, dtype=np.dtype(np.float32)), ImageError, "face: got dtype float32"),
        (replace(view, shape=(20, 30, 4)), ImageError, r"face: got shape \(20, 30, 4\)"),
        (replace(view, shape=(3, 20, 30)), ImageError, "face: got shape"),
        (replace(view, strides_bytes=(90, 1, 30)), InputError, "side by side, channels last"),
        (replace(view, strides_bytes=(80, 3, 1)), InputError, "side by side, channels last"),
        (replace(view, shape=(21, 30, 3)), InputError, "face: got 1800 bytes"),
        (replace(view, device=1), InputError, "face: got memory of device 1"),
        ([[1, 2], [3, 4]], ImageError, "face: got a list; expected a numpy array"),
    ):
        with pytest.raises(error, match=said):
            preparation.checked(wrong, "face")
    driver.drop(view.address)
    with pytest.raises(InputError, match="which the driver does not know"):
        preparation.checked(replace(view, address=0x1000), "face")


def test_only_resizing_in_integers_goes_to_the_gpu() -> None:
    assert can_prepare(SPEC)
    cubic = replace(FIRST, interpolation="cubic")
    assert not can_prepare(replace(SPEC, inputs=(cubic, SECOND)))
