"""Preprocessing version 3 straight from docs/preprocessing.md, slowly: an oracle for tests.

Integers are Python's, quotients are fractions, doubles are Python's floats; one weighted sum per
new pixel is spelled out. Nothing but the standard library is imported, so that the page has to say
all that there is to know.
"""

from __future__ import annotations

import math
import struct
from fractions import Fraction
from typing import Any

Levels = list[list[int]]  # of a plane, row by row
# Per new pixel: (pixel, weight), and what weights count as 1.
Taps = list[list[tuple[int, int]]]
ANTIALIASED = ("antialiased_linear", "antialiased_cubic")


def input_tensor(planes: list[Levels], dtype: str, spec: dict[str, Any]) -> list[list[list[float]]]:
    """The channels of the input tensor.

    Args:
        planes: The image's, one, or R, G and B.
        dtype: ``uint8`` or ``uint16``.
        spec: The fields of the InputSpec.
    """
    most = {"uint8": 255, "uint16": 65535}[dtype]
    if spec["channels"] == 1 and len(planes) == 3:
        planes = [gray(*planes)]
    rows, columns = resized_size(len(planes[0]), len(planes[0][0]), spec)
    planes = [resized(plane, rows, columns, spec["interpolation"], most) for plane in planes]
    placed_planes = [placed(plane, spec, most) for plane in planes]
    channels = []
    for channel in range(spec["channels"]):
        order = channel if spec["color_order"] != "bgr" else 2 - channel
        plane = placed_planes[order if len(planes) == 3 else 0]
        gain = float32(1.0 / (float(most) * spec["std"][channel]))
        shift = float32(-spec["mean"][channel] / spec["std"][channel])
        channels.append([[float32(float32(v * gain) + shift) for v in row] for row in plane])
    return channels


def float32(value: float) -> float:
    """The nearest number of 32 bits."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def gray(red: Levels, green: Levels, blue: Levels) -> Levels:
    return [
        [(9798 * r + 19235 * g + 3735 * b + 16384) >> 15 for r, g, b in zip(*row, strict=True)]
        for row in zip(red, green, blue, strict=True)
    ]


def resized_size(height: int, width: int, spec: dict[str, Any]) -> tuple[int, int]:
    h, w = spec["size"]
    if spec["resize"] == "stretch":
        return h, w
    scale = (min if spec["resize"] == "letterbox" else max)(h / height, w / width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def resized(plane: Levels, rows: int, columns: int, interpolation: str, most: int) -> Levels:
    down, one_down = taps(interpolation, len(plane), rows)
    across, one_across = taps(interpolation, len(plane[0]), columns)
    if interpolation in ANTIALIASED:
        if len(plane[0]) != columns:
            plane = [one_pass(row, across, most) for row in plane]
        if len(plane) != rows:
            turned = [one_pass(list(column), down, most) for column in zip(*plane, strict=True)]
            plane = [list(row) for row in zip(*turned, strict=True)]
        return plane
    one = one_down * one_across
    return [
        [
            rounded(sum(wy * wx * plane[y][x] for y, wy in dy for x, wx in dx), one, most)
            if interpolation != "cubic"
            else cubic_level(sum(wy * wx * plane[y][x] for y, wy in dy for x, wx in dx), one, most)
            for dx in across
        ]
        for dy in down
    ]


def rounded(total: int, one: int, most: int) -> int:
    level = round(Fraction(total, one))  # a half to the even one
    assert 0 <= level <= most
    return level


def cubic_level(total: int, one: int, most: int) -> int:
    return min(max((total + one // 2) // one, 0), most)


def one_pass(line: list[int], all_taps: Taps, most: int) -> list[int]:
    sums = [sum(weight * line[pixel] for pixel, weight in each) for each in all_taps]
    return [min(max((total + 2**21) // 2**22, 0), most) for total in sums]


def taps(interpolation: str, length: int, count: int) -> tuple[Taps, int]:
    if length == count:
        return [[(i, 1)] for i in range(count)], 1
    if interpolation == "area" and count < length:
        return [area(i, length, count) for i in range(count)], length
    if interpolation in ("area", "linear"):
        return [linear(i, length, count) for i in range(count)], 2 * count
    if interpolation == "cubic":
        return [cubic(i, length, count) for i in range(count)], 2**22
    if interpolation == "nearest":
        return [[((2 * i + 1) * length // (2 * count), 1)] for i in range(count)], 1
    if interpolation == "nearest_floor":
        return [[(i * length // count, 1)] for i in range(count)], 1
    return [antialiased(i, length, count, interpolation) for i in range(count)], 2**22


def inside(pixel: int, length: int) -> int:
    return min(max(pixel, 0), length - 1)


def area(i: int, length: int, count: int) -> list[tuple[int, int]]:
    found = []
    for j in range(i * length // count, length):
        overlap = min((j + 1) * count, (i + 1) * length) - max(j * count, i * length)
        if overlap <= 0:
            break
        found.append((j, overlap))
    return found


def linear(i: int, length: int, count: int) -> list[tuple[int, int]]:
    f, t = divmod((2 * i + 1) * length - count, 2 * count)
    return [(inside(f, length), 2 * count - t), (inside(f + 1, length), t)]


def cubic(i: int, length: int, count: int) -> list[tuple[int, int]]:
    f, t = divmod((2 * i + 1) * length - count, 2 * count)
    u, a = float(t) / float(2 * count), -0.75
    v = 1.0 - u
    kernel = (
        ((a * (u + 1.0) - 5.0 * a) * (u + 1.0) + 8.0 * a) * (u + 1.0) - 4.0 * a,
        ((a + 2.0) * u - (a + 3.0)) * u * u + 1.0,
        ((a + 2.0) * v - (a + 3.0)) * v * v + 1.0,
    )
    weights = [math.floor(k * 4194304.0 + 0.5) for k in kernel]
    weights.append(2**22 - sum(weights))
    return [(inside(f - 1 + k, length), weight) for k, weight in enumerate(weights)]


def antialiased(i: int, length: int, count: int, name: str) -> list[tuple[int, int]]:
    scale = length / count
    f = max(scale, 1.0)
    support = (1.0 if name == "antialiased_linear" else 2.0) * f
    centre = (i + 0.5) * scale
    inverse = 1.0 / f
    first = max(0, math.trunc(centre - support + 0.5))
    end = min(length, math.trunc(centre + support + 0.5))
    kernel = triangle if name == "antialiased_linear" else keys
    values = [kernel((float(j) - centre + 0.5) * inverse) for j in range(first, end)]
    total = 0.0
    for value in values:
        total = total + value
    found = []
    for j, value in enumerate(values, first):
        share = value / total
        half = 0.5 if share >= 0 else -0.5
        found.append((j, math.trunc(share * 4194304.0 + half)))
    return found


def triangle(x: float) -> float:
    return 1.0 - abs(x) if abs(x) < 1.0 else 0.0


def keys(x: float) -> float:
    x, a = abs(x), -0.5
    if x < 1.0:
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    if x < 2.0:
        return (((x - 5.0) * x + 8.0) * x - 4.0) * a
    return 0.0


def placed(plane: Levels, spec: dict[str, Any], most: int) -> Levels:
    """On the network's input, row by row: a padded canvas, or a part."""
    (height, width), rows, columns = spec["size"], len(plane), len(plane[0])
    top, left = (height - rows) // 2, (width - columns) // 2
    pad = round(spec["pad_value"] * most)
    return [
        [
            plane[y - top][x - left] if 0 <= y - top < rows and 0 <= x - left < columns else pad
            for x in range(width)
        ]
        for y in range(height)
    ]
