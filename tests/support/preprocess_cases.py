"""The preprocessing kernel on the CPU or a GPU, for tests and for a process with a sanitizer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from kernel_hosts import CpuHost, KernelHost
from numpy.typing import DTypeLike, NDArray

from mahtrt.cuda.device import Launch
from mahtrt.cuda.preprocess_launch import (
    SOURCE,
    DeviceBatch,
    DeviceImage,
    Values,
    preprocess_launch,
)
from mahtrt.data.preprocess import fit_of, normalization, preprocess
from mahtrt.data.resizing import resizing
from mahtrt.spec import InputSpec

ENTRIES = [
    f"mahtrt_preprocess_{image}_{tensor}" for image in ("u8", "u16") for tensor in ("f32", "f16")
]
UNTOUCHED = 7.0


def input_spec(size: tuple[int, int], channels: int, **fields: object) -> InputSpec:
    """A spec whose channels differ in mean and std."""
    values = {
        "color_order": "gray" if channels == 1 else "rgb",
        "mean": (0.485, 0.456, 0.406)[:channels],
        "std": (0.229, 0.224, 0.225)[:channels],
    }
    return InputSpec(size=size, channels=channels, **(values | fields))  # type: ignore[arg-type]


def with_pitch(image: NDArray[np.generic], pitch: int) -> NDArray[np.uint8]:
    """The image's rows, ``pitch`` bytes apart, in memory that ends with the last of them."""
    row = image[0].nbytes
    memory = np.full(pitch * (len(image) - 1) + row, 0xEE, np.uint8)
    for index, each in enumerate(image):
        memory[index * pitch : index * pitch + row] = np.frombuffer(each.tobytes(), np.uint8)
    return memory


def run_kernel(
    image: NDArray[np.generic],
    spec: InputSpec,
    *,
    extra_pitch: int = 0,
    dtype: DTypeLike = np.float32,
    slots: int = 1,
    slot: int = 0,
    host: KernelHost | None = None,
) -> NDArray[np.floating]:
    """The whole batch after one launch; slots that are not written hold ``UNTOUCHED``.

    Args:
        extra_pitch: Samples between the end of a row and the start of the next.
        host: Where to run; None is the CPU.
    """
    host = host or CpuHost()
    batch = np.full((slots, spec.channels, *spec.size), UNTOUCHED, dtype)
    place = host.put(batch)
    target = DeviceBatch(place, batch.shape, batch.dtype.name)
    host.launch(SOURCE, ENTRIES, launch_of(image, spec, extra_pitch, target, slot, host))
    host.take(place, batch)
    return batch


def launch_of(
    image: NDArray[np.generic],
    spec: InputSpec,
    extra_pitch: int,
    batch: DeviceBatch,
    slot: int,
    host: KernelHost,
) -> Launch:
    """The launch for an image, which is put on the host."""
    pitch = image[0].nbytes + extra_pitch * image.itemsize
    place = host.put(with_pitch(image, pitch))
    source = DeviceImage(place, image.shape, image.dtype.name, pitch)
    gain, shift = normalization(image.dtype, spec)
    values = Values(tuple(gain.tolist()), tuple(shift.tolist()), spec.color_order == "bgr")
    way = resizing(fit_of(image.shape, spec), image.dtype, spec)
    return preprocess_launch(source, way, values, batch, slot)


def noise(shape: tuple[int, ...], dtype: DTypeLike, seed: int = 0) -> NDArray[np.generic]:
    most = np.iinfo(np.dtype(dtype)).max
    rng = np.random.default_rng(seed)
    return rng.integers(0, most, shape, dtype=np.dtype(dtype), endpoint=True)


def hold_against_cpu(
    image: NDArray[np.generic], spec: InputSpec, host: KernelHost | None = None
) -> None:
    expected, _ = preprocess(image, spec)
    assert np.array_equal(run_kernel(image, spec, extra_pitch=3, host=host)[0], expected)


def run_all(
    host: KernelHost | None = None,
    shapes: Sequence[tuple[int, ...]] = ((61, 37), (23, 70, 3), (2, 2), (300, 2)),
    size: tuple[int, int] = (24, 35),
) -> None:
    """Every way through the kernel once; on the CPU on arrays that nothing lies behind."""
    for dtype in (np.uint8, np.uint16):
        for shape in shapes:
            for interpolation in ("area", "linear"):
                for resize in ("letterbox", "stretch", "center_crop"):
                    for channels in (1, 3):
                        spec = input_spec(
                            size, channels, interpolation=interpolation, resize=resize
                        )
                        hold_against_cpu(noise(shape, dtype), spec, host)
