"""Millimetres per pixel: one check for every place where a spacing comes in."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

import numpy as np

from mahtrt.errors import InputError, MahtrtError, shown

Spacing = tuple[float, float]  # (row, column) in mm per pixel

LEAST_MM, MOST_MM = 1e-6, 1e6  # far beyond what any image has; within, FP32 holds all products
EXPECTED = f"millimetres per pixel, a number from {LEAST_MM:g} to {MOST_MM:g}"


def is_spacing(value: object) -> bool:
    """Whether one number can be millimetres per pixel: real, finite, above 0."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    return number and LEAST_MM <= value <= MOST_MM  # type: ignore[operator]


def spacing_pair(
    value: object, subject: str = "spacing_mm", *, error: type[MahtrtError] = InputError
) -> Spacing:
    """A (row, column) spacing.

    Raises:
        MahtrtError: ``error``, for anything but two numbers that can be spacings.
    """
    pair = isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, str)
    numbers = list(value) if pair else []  # type: ignore[call-overload]
    if len(numbers) != 2 or not all(map(is_spacing, numbers)):
        raise error(
            subject,
            got=shown(value),
            expected=f"(row, column) in {EXPECTED}, such as (0.1, 0.1)",
        )
    return float(numbers[0]), float(numbers[1])
