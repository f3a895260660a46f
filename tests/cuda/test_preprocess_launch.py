from __future__ import annotations

import ctypes
import dataclasses
from typing import Any

import numpy as np
import pytest
from preprocess_cases import input_spec

from mahtrt.cuda.preprocess_launch import (
    DeviceBatch,
    DeviceImage,
    Resizing,
    Values,
    preprocess_launch,
)
from mahtrt.data.preprocess import fit_of
from mahtrt.data.resizing import resizing
from mahtrt.errors import ImageError, InputError

IMAGE = DeviceImage(0x1000, (2400, 1935), "uint8", 2048)
BATCH = DeviceBatch(0x2000, (4, 1, 512, 512), "float16")
VALUES = Values((0.5,), (-1.0,))
SPEC = input_spec((512, 512), 1)


def way(height: int = 2400, width: int = 1935, dtype: str = "uint8") -> Resizing:
    return resizing(fit_of((height, width), SPEC), np.dtype(dtype), SPEC)


def test_a_radiograph_to_a_slot() -> None:
    launch = preprocess_launch(IMAGE, way(), VALUES, BATCH, 2)
    assert launch.entry == "mahtrt_preprocess_u8_f16"
    assert launch.block == (256, 1, 1)
    assert launch.grid == (16, 128, 1)  # two threads share the 4 to 6 image rows of a new pixel
    values = [argument.value for argument in launch.arguments]
    sizes = [2400, 1935, 1, 512, 413, 0, 49, 512, 512, 1, 0, 1, 1, 2, 0]
    assert values == [
        *(0x1000, 2048, *sizes),
        *(0.5, 0, 0, -1, 0, 0),
        0x2000 + 2 * 2 * 512 * 512,
    ]
    assert launch.arguments[1].__class__ is ctypes.c_longlong


@pytest.mark.parametrize(
    ("height", "rows"), [(600, 64), (2047, 64), (2048, 128), (4096, 256), (30000, 512)]
)
def test_threads_share_the_rows_of_a_pixel_where_there_are_many(height: int, rows: int) -> None:
    resizing = dataclasses.replace(way(), image=(height, 1935))
    image = dataclasses.replace(IMAGE, shape=(height, 1935))
    assert preprocess_launch(image, resizing, VALUES, BATCH, 0).grid == (16, rows, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "int16"}, "dtype int16; expected uint8 or uint16"),
        ({"shape": (2400,)}, r"shape \(2400,\)"),
        ({"shape": (2400, 1935, 4)}, "shape .*4"),
        ({"shape": (2400, 1934)}, "expected that of its resizing"),
        ({"pitch": 1934}, "pitch of 1934 bytes; expected at least the 1935"),
        ({"pitch": -2048}, "pitch of -2048"),
        ({"shape": (2400, 1935, 3)}, "at least the 5805"),
        ({"address": 0}, "address 0x0"),
    ],
)
def test_an_image_that_cannot_be_used_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        preprocess_launch(dataclasses.replace(IMAGE, **change), way(), VALUES, BATCH, 0)


@pytest.mark.parametrize(
    "change", [{"pitch": 4001, "dtype": "uint16"}, {"address": 0x1001, "dtype": "uint16"}]
)
def test_samples_of_two_bytes_lie_at_even_places(change: dict[str, Any]) -> None:
    image = dataclasses.replace(IMAGE, **({"pitch": 4000} | change))
    with pytest.raises(ImageError, match="2"):
        preprocess_launch(image, way(dtype="uint16"), VALUES, BATCH, 0)


@pytest.mark.parametrize(
    ("change", "slot", "message"),
    [
        ({"dtype": "int8"}, 0, "dtype int8; expected float32 or float16"),
        ({"shape": (4, 2, 512, 512)}, 0, "shape"),
        ({"shape": (4, 1, 512)}, 0, "shape"),
        ({"shape": (4, 1, 512, 511)}, 0, r"expected \(B, C, 512, 512\)"),
        ({"shape": (4, 3, 512, 512)}, 0, "got 1 gains and 1 shifts"),
        ({"address": 0x2001}, 0, "a multiple of 2"),
        ({}, 4, "slot 4; expected a slot of its 4"),
        ({}, -1, "slot -1"),
    ],
)
def test_a_batch_that_cannot_be_used_is_refused(
    change: dict[str, Any], slot: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        preprocess_launch(IMAGE, way(), VALUES, dataclasses.replace(BATCH, **change), slot)
