from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from mahtrt.cuda.dark_launch import MOST_SIGMA, Dark, DarkPlaces, dark_launch
from mahtrt.errors import InputError
from mahtrt.runtime.dark import gaussian_kernel

OPERATION = Dark((2, 7, 512, 384), "float16", 2.0, (512, 384))
PLACES = DarkPlaces(0x1000, 0x3000, 0x4000, 0x5000, 0x2000)


def test_maps_of_a_batch() -> None:
    launch = dark_launch(OPERATION, PLACES)
    assert launch.entry == "mahtrt_dark_f16"
    assert launch.block == (256, 1, 1)
    assert launch.grid == (2 * 7 * 16 * 6, 1, 1)
    assert [argument.value for argument in launch.arguments] == [
        *(0x1000, 512, 384, 7, 512, 384, 5, 2.0, None),
        *(0x2000 + 256, 0x2000, 0x3000, 0x4000, 0x5000),  # counters of 14 maps first
    ]
    floats = 7 * 512 + 17 * 384 + 16 * 6
    assert OPERATION.workspace_bytes == 256 + 14 * 4 * floats


def test_wide_gaussians_have_smaller_tiles() -> None:
    launch = dark_launch(dataclasses.replace(OPERATION, sigma=3.3, dtype="bfloat16"), PLACES)
    assert launch.entry == "mahtrt_dark_wide_bf16"
    assert launch.grid == (2 * 7 * 16 * 12, 1, 1)


@pytest.mark.parametrize("sigma", [0.1, 0.4, 1.2, 2.0, 3.2, 3.21, 6.4, MOST_SIGMA])
def test_the_radius_is_the_definitions(sigma: float) -> None:
    assert dataclasses.replace(OPERATION, sigma=sigma).radius == len(gaussian_kernel(sigma)) // 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "float64"}, "dtype float64; expected float32 or float16 or bfloat16"),
        ({"shape": (2, 7, 512)}, "shape"),
        ({"shape": (2, 7, 2, 512)}, "at least 3"),
        ({"shape": (0, 7, 512, 512)}, "shape"),
        ({"sigma": 11.3}, "got 11.3 cells; expected at most 11.2.*on the CPU"),
        ({"sigma": float("nan")}, "nan cells"),
        ({"input_size": (512, 0)}, "input size"),
        ({"shape": (65536, 64, 1024, 1024)}, "fewer cells"),
    ],
)
def test_an_operation_that_cannot_be_done_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(OPERATION, **change)


@pytest.mark.parametrize(
    "change",
    [{"heatmaps": 0}, {"heatmaps": 0x1001}, {"workspace": 0x2008}, {"spread": 2}, {"affine": -4}],
)
def test_an_address_that_cannot_be_used_is_refused(change: dict[str, int]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(change))}: got address"):
        dark_launch(OPERATION, dataclasses.replace(PLACES, **change))
