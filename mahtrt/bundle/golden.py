"""Golden vectors: a few images as they were given, with the landmarks the reference gave.

``golden.npz`` holds ``names`` and, per image i, ``image_i`` (uint8 or uint16), ``points_i``
((K, 2) float32, pixels of that image) and ``spacing_i`` (row, column mm; NaN where unknown).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.errors import IntegrityError


@dataclass(frozen=True, slots=True, eq=False)
class GoldenVector:
    """One image and its reference landmarks.

    Attributes:
        image: (H, W) or (H, W, 3), uint8 or uint16, as given.
        points_px: (K, 2) float32 in the image's pixels.
        spacing_mm: (row, column) mm per pixel, or None.
    """

    name: str
    image: NDArray[Any]
    points_px: NDArray[np.float32]
    spacing_mm: tuple[float, float] | None = None


def write_golden(path: Path, vectors: Sequence[GoldenVector]) -> None:
    """Write golden vectors as a compressed npz."""
    arrays: dict[str, Any] = {"names": np.array([vector.name for vector in vectors])}
    for i, vector in enumerate(vectors):
        arrays[f"image_{i}"] = vector.image
        arrays[f"points_{i}"] = np.asarray(vector.points_px, np.float32)
        arrays[f"spacing_{i}"] = np.asarray(vector.spacing_mm or (np.nan, np.nan), np.float64)
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_golden(path: Path) -> tuple[GoldenVector, ...]:
    """Read what :func:`write_golden` wrote.

    Raises:
        IntegrityError: The file is not such a file.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return tuple(
                GoldenVector(
                    name=str(name),
                    image=arrays[f"image_{i}"],
                    points_px=arrays[f"points_{i}"],
                    spacing_mm=_spacing(arrays[f"spacing_{i}"]),
                )
                for i, name in enumerate(arrays["names"])
            )
    except (OSError, ValueError, KeyError) as error:
        raise IntegrityError(str(path), got=str(error), expected="golden vectors") from error


def _spacing(values: NDArray[np.float64]) -> tuple[float, float] | None:
    return None if np.isnan(values).any() else (float(values[0]), float(values[1]))
