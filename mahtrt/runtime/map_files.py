"""Maps as pictures: 16-bit gray PNG files in the pixels of the image, a file per channel.

A map of probabilities is written from 0 (black) to 1 (white). A map with values beyond is written
from its smallest to its largest value. What is unknown, since it was cropped away, and what is not
finite is black; the result of the writing says which values black and white are.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mahtrt.atomic import write_bytes_atomic
from mahtrt.names import text_of_path
from mahtrt.runtime.landmarks import Landmarks

OVERLAY = "overlay"  # stands in a file's name where a map has its own
_FULL = 65535
_LONGEST_NAME = 64
_ROUNDING = 1e-3  # beyond 0 or 1: what a reduced precision may make of them

Map = NDArray[np.float32]


def names_in_files(names: Iterable[str]) -> dict[str, str]:
    """Names of outputs as parts of a file's name, so that no two maps have the same file.

    A bundle chooses its names, and may not choose a folder by them: what is no letter, digit, dash
    or underscore becomes an underscore. Names that are alike then get numbers, as do those that
    could be a channel of another map (``heat-0``) or an overlay.
    """
    found: dict[str, str] = {}
    taken = {OVERLAY}
    for name in names:
        plain = part = re.sub(r"[^\w-]", "_", name, flags=re.ASCII)[:_LONGEST_NAME]
        number = itertools.count(2)
        while any(_are_alike(part, other) for other in taken):
            part = f"{plain}_{next(number)}"
        found[name] = part
        taken.add(part)
    return found


def _are_alike(part: str, other: str) -> bool:
    """Whether two parts are the same, or one is what a channel of the other is called."""
    shorter, longer = sorted((part, other), key=len)
    return re.fullmatch(re.escape(shorter) + "(-[0-9]+)?", longer) is not None


def map_places(folder: Path, stem: str, name: str, channels: int) -> tuple[Path, ...]:
    """Where the channels of a map are written: ``STEM.NAME.png``, with a number where several.

    Args:
        name: As in :func:`names_in_files`.
    """
    if channels == 1:
        return (folder / f"{stem}.{name}.png",)
    return tuple(folder / f"{stem}.{name}-{i}.png" for i in range(channels))


def write_maps(
    folder: Path, stem: str, landmarks: Landmarks, size: tuple[int, ...]
) -> dict[str, dict[str, Any]]:
    """Write every map of an image.

    Args:
        folder: It is made where it is missing.
        stem: What the names of the files begin with.
        size: (height, width) of the image.

    Returns:
        Output name to ``files`` with the values that ``black`` and ``white`` stand for.

    Raises:
        BuildError: The place cannot be written.
    """
    written = {}
    for name, part in names_in_files(landmarks.maps).items():
        values = landmarks.map_in_image(name, size)
        black, white = value_range(values)
        places = map_places(folder, stem, part, len(values))
        for place, plane in zip(places, values, strict=True):
            write_bytes_atomic(place, _png(plane, black, white))
        files = [text_of_path(place) for place in places]
        written[name] = {"files": files, "black": round(black, 6), "white": round(white, 6)}
    return written


def value_range(values: Map) -> tuple[float, float]:
    """The values that black and white stand for."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if low >= -_ROUNDING and high <= 1 + _ROUNDING:
        return 0.0, 1.0
    return low, max(high, low + 1e-6)


def shades(plane: Map, black: float, white: float) -> NDArray[np.float32]:
    """A map from 0 (black) to 1 (white); 0 where it is not finite."""
    known = np.where(np.isfinite(plane), plane, np.float32(black))
    shade = (known - np.float32(black)) / np.float32(white - black)
    return np.asarray(np.clip(shade, 0, 1), np.float32)


def _png(plane: Map, black: float, white: float) -> bytes:
    pixels = np.round(shades(plane, black, white) * _FULL).astype(np.uint16)
    _, data = cv2.imencode(".png", pixels)
    return bytes(data.tobytes())
