"""Preprocessing in C++ against the oracle of docs/preprocessing.md: every bit of 500 images."""

from __future__ import annotations

import ctypes
import dataclasses
import random
import typing

import numpy as np
import pytest
from native_library import native_library
from numpy.typing import NDArray
from preprocess_oracle import input_tensor

from mahtrt.data.compiled import NativeImage, NativePlacement, native_input
from mahtrt.data.preprocess import fit_of
from mahtrt.spec import InputSpec, Interpolation, Resize

# Format: bytes per sample, samples per pixel in memory, whether blue comes first.
FORMATS = {
    0: (1, 1, False),
    1: (2, 1, False),
    2: (1, 3, False),
    3: (2, 3, False),
    4: (1, 3, True),
    5: (2, 3, True),
    6: (1, 4, False),
    7: (1, 4, True),
}
BAD_IMAGE, USAGE = 7, 2


@pytest.fixture(scope="module")
def prepare() -> ctypes.CDLL:
    found = ctypes.CDLL(str(native_library()))
    found.mahtrt_last_error.restype = ctypes.c_char_p
    return found


def memory_of(
    image: NDArray[np.generic], number: int, shift: int, gap: int
) -> tuple[NDArray[np.uint8], NativeImage]:
    """An image's bytes in a format, from any address on and with bytes between rows."""
    _, samples, turned = FORMATS[number]
    if image.ndim == 3:
        image = image[..., ::-1] if turned else image
        unused = np.full((*image.shape[:2], samples - 3), 0xA5, image.dtype)
        image = np.concatenate([image, unused], -1)
    rows = np.ascontiguousarray(image).reshape(len(image), -1).view(np.uint8)
    memory = np.full(shift + (rows.shape[1] + gap) * len(rows) - gap, 0x5A, np.uint8)
    for index, row in enumerate(rows):
        start = shift + index * (rows.shape[1] + gap)
        memory[start : start + rows.shape[1]] = row
    return memory, NativeImage(
        size=ctypes.sizeof(NativeImage),
        data=memory.ctypes.data + shift,
        row_bytes=rows.shape[1] + gap if gap else 0,
        width=image.shape[1],
        height=image.shape[0],
        format=number,
    )


def prepared(
    library: ctypes.CDLL, spec: InputSpec, image: NativeImage
) -> tuple[int, NDArray[np.float32], NativePlacement]:
    tensor = np.full((spec.channels, *spec.size), np.nan, np.float32)
    placement = NativePlacement(size=ctypes.sizeof(NativePlacement))
    status = library.mahtrt_preprocess(
        ctypes.byref(native_input(spec)),
        ctypes.byref(image),
        tensor.ctypes.data_as(ctypes.c_void_p),
        ctypes.c_size_t(tensor.size),
        ctypes.byref(placement),
    )
    return status, tensor, placement


def from_oracle(image: NDArray[np.generic], spec: InputSpec) -> NDArray[np.float32]:
    planes = [image] if image.ndim == 2 else [image[..., channel] for channel in range(3)]
    fields = dataclasses.asdict(spec)
    tensor = input_tensor([plane.tolist() for plane in planes], image.dtype.name, fields)
    return np.array(tensor, np.float32)


def random_spec(rng: random.Random, height: int, width: int) -> InputSpec:
    channels = rng.choice((1, 3))
    size = rng.choice((rng.randint(1, 60), height)), rng.choice((rng.randint(1, 60), width))
    return InputSpec(
        size=size,
        channels=channels,
        color_order="gray" if channels == 1 else rng.choice(("rgb", "bgr")),
        mean=tuple(rng.uniform(-1, 1) for _ in range(channels)),
        std=tuple(rng.uniform(0.1, 2) for _ in range(channels)),
        resize=rng.choice(typing.get_args(Resize)),
        interpolation=rng.choice(typing.get_args(Interpolation)),
        pad_value=rng.choice((0.0, 0.5, 1.0, rng.random())),
    )


def random_image(rng: random.Random, number: int) -> NDArray[np.generic]:
    most_side = 240 if rng.random() < 0.1 else 70
    shape = (rng.randint(2, most_side), rng.randint(2, most_side))
    bytes_per_sample, samples, _ = FORMATS[number]
    dtype = np.dtype(f"u{bytes_per_sample}")
    noise = np.random.default_rng(rng.randint(0, 2**32))
    levels = noise.integers(
        0, np.iinfo(dtype).max, shape if samples == 1 else (*shape, 3), dtype, endpoint=True
    )
    if rng.random() < 0.3:  # black and white: what overshoots
        levels = (levels >> (8 * bytes_per_sample - 1)) * np.iinfo(dtype).max
    return levels.astype(dtype)


@pytest.mark.parametrize("part", range(10))
def test_random_images_are_the_oracles(prepare: ctypes.CDLL, part: int) -> None:
    rng = random.Random(part)
    for index in range(50):
        number = (part * 50 + index) % len(FORMATS)
        image = random_image(rng, number)
        spec = random_spec(rng, *image.shape[:2])
        memory, described = memory_of(image, number, rng.randint(0, 3), rng.randint(0, 5))
        status, tensor, placement = prepared(prepare, spec, described)
        assert status == 0, prepare.mahtrt_last_error()
        del memory
        expected = from_oracle(image, spec)
        assert tensor.tobytes() == expected.tobytes(), (image.shape, number, spec)
        where = fit_of(image.shape, spec).placement
        assert (placement.scale_x, placement.scale_y) == where.scale
        assert (placement.offset_x, placement.offset_y) == where.offset


def test_what_cannot_be_used_gives_a_status_and_a_sentence(prepare: ctypes.CDLL) -> None:
    spec = InputSpec(size=(4, 4), channels=1, color_order="gray", mean=(0.0,), std=(1.0,))
    image = np.zeros((5, 6), np.uint8)
    for changes, status, part in (
        ({"data": None}, USAGE, b"NULL"),
        ({"format": 9}, USAGE, b"format"),
        ({"size": 3}, USAGE, b"size"),
        ({"row_bytes": 5}, BAD_IMAGE, b"at least 6"),
        ({"width": 1}, BAD_IMAGE, b"1x5"),
        ({"height": -3}, BAD_IMAGE, b"6x-3"),
        ({"width": 32768}, BAD_IMAGE, b"32767"),
    ):
        _, described = memory_of(image, 0, 0, 0)
        for name, value in changes.items():
            setattr(described, name, value)
        assert prepared(prepare, spec, described)[0] == status
        assert part in prepare.mahtrt_last_error()
