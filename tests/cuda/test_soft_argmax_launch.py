"""Launches of the fused soft-argmax: sizes, parts, workspace, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from soft_argmax_runs import ENTRIES

from mahtrt.cuda.compile import shipped_ptx
from mahtrt.cuda.soft_argmax_launch import (
    BLOCK_THREADS,
    MOST_PARTS,
    SOURCE,
    SoftArgmax,
    SoftArgmaxPlaces,
    soft_argmax_launch,
)
from mahtrt.errors import InputError

OPERATION = SoftArgmax((2, 7, 128, 96), "float16", 0.05, (512, 384))
PLACES = SoftArgmaxPlaces(0x1000, 0x2000, 0x3000, 0x4000, workspace=0x8000, affine=0x5004)
H200 = 132


def values(launch: Any) -> list[Any]:
    return [argument.value for argument in launch.arguments]


def test_arguments_are_in_the_kernels_order() -> None:
    launch = soft_argmax_launch(OPERATION, PLACES, H200, parts=3)
    assert launch.entry == "mahtrt_soft_argmax_maps_f16"
    assert (launch.grid, launch.block) == ((14 * 3, 1, 1), (256, 1, 1))
    scale = pytest.approx(1.442695 / 0.05, rel=1e-6)
    numbers = [128, 96, scale, 3, 7, 512, 384]
    places = [0x5004, 0x2000, 0x3000, 0x4000, 0x8000 + 256, 0x8000]
    assert values(launch) == [0x1000, *numbers, *places]


def test_logits_have_their_size_before_the_heatmaps() -> None:
    operation = replace(OPERATION, logits_size=(256, 192), dtype="float32")
    launch = soft_argmax_launch(operation, PLACES, H200, parts=1)
    assert launch.entry == "mahtrt_soft_argmax_logits_f32"
    assert values(launch)[1:5] == [256, 192, 128, 96]
    assert operation.map_bytes == 2 * 7 * 256 * 192 * 4


def test_a_few_maps_are_read_by_many_blocks_and_many_by_few() -> None:
    def parts(images: int, maps: int, side: int) -> int:
        return SoftArgmax((images, maps, side, side), "float16", 0.05, (512, 512)).parts(H200)

    assert parts(64, 7, 512) == 2  # 896 blocks
    assert parts(1, 7, 512) == 32  # 8,192 cells each
    assert parts(1, 7, 64) == 1
    assert parts(1, 1, 1024) == MOST_PARTS
    assert parts(64, 64, 1) == 1


def test_workspace_has_a_counter_for_each_map_and_sums_for_each_part() -> None:
    assert OPERATION.workspace_bytes(H200, 1) == 0
    assert OPERATION.workspace_bytes(H200, 3) == 256 + 14 * 3 * 32
    assert OPERATION.workspace_bytes(H200) == OPERATION.workspace_bytes(H200, OPERATION.parts(H200))
    many = replace(OPERATION, shape=(10, 10, 128, 96))
    assert many.workspace_bytes(H200, 2) == 512 + 100 * 2 * 32


def test_one_part_needs_no_workspace() -> None:
    launch = soft_argmax_launch(OPERATION, replace(PLACES, workspace=0), H200, parts=1)
    assert values(launch)[-2:] == [None, None]
    with pytest.raises(InputError, match="address of workspace 0x0; expected a multiple of 16"):
        soft_argmax_launch(OPERATION, replace(PLACES, workspace=0), H200, parts=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (1, 7, 0, 64)}, "sizes"),
        ({"input_size": (0, 64)}, "sizes"),
        ({"logits_size": (64, -1)}, "sizes"),
        ({"dtype": "float64"}, "type float64; expected float32 or float16 or bfloat16"),
        ({"shape": (1, 1, 2**15, 2**16)}, "cells of a map"),
        ({"shape": (2**13, 2**13, 1, 1)}, "maps"),
        ({"input_size": (2**24, 1)}, "pixels"),
        ({"temperature": 0.0}, "temperature 0.0; expected from 1e-38 to 3e"),
        ({"temperature": float("nan")}, "temperature nan"),
        ({"temperature": float("inf")}, "temperature inf"),
    ],
)
def test_numbers_out_of_range_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"fused soft-argmax: got {message}"):
        replace(OPERATION, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"maps": 0}, "address of maps 0x0; expected a multiple of 2, not 0"),
        ({"maps": 0x1001}, "address of maps 0x1001"),
        ({"landmarks": 0x2002}, "address of landmarks 0x2002; expected a multiple of 4"),
        ({"workspace": 0x8008}, "address of workspace 0x8008; expected a multiple of 16"),
        ({"affine": 0x5002}, "address of affine 0x5002"),
    ],
)
def test_wrong_addresses_are_refused(change: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        soft_argmax_launch(OPERATION, replace(PLACES, **change), H200, parts=2)


@pytest.mark.parametrize("parts", [0, -1, MOST_PARTS + 1])
def test_too_many_parts_are_refused(parts: int) -> None:
    with pytest.raises(InputError, match=f"parts {parts}; expected 1 to 32"):
        soft_argmax_launch(OPERATION, PLACES, H200, parts=parts)


def test_shipped_entries_take_these_arguments() -> None:
    ptx = shipped_ptx(SOURCE).decode()
    kinds = {"c_void_p": "u64", "c_int": "u32", "c_float": "f32"}
    found = dict(re.findall(r"\.visible \.entry (\w+)\((.*?)\)", ptx, re.DOTALL))
    assert sorted(found) == sorted(ENTRIES)
    assert ptx.count(f".maxntid {BLOCK_THREADS}") == len(ENTRIES)
    for size in (None, (8, 8)):
        operation = replace(OPERATION, logits_size=size)
        launch = soft_argmax_launch(operation, PLACES, H200, parts=2)
        wanted = [kinds[type(argument).__name__] for argument in launch.arguments]
        assert re.findall(r"\.param \.(\w+)", found[launch.entry]) == wanted
