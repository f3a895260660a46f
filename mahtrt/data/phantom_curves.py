"""Curves in millimetres, and the parts of a phantom that they bound."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]  # (N, 2) x, y in mm


@dataclass(frozen=True, slots=True)
class Part:
    """Something that weakens the X-rays.

    Attributes:
        curves: Closed contours (even-odd filled), or open ones where ``width_mm`` is set.
        density: Attenuation it adds; negative for air.
        width_mm: Width of a drawn line, None for a filled area.
        soft: Without a sharp edge: drawn blurred.
    """

    curves: tuple[Curve, ...]
    density: float
    width_mm: float | None = None
    soft: bool = False


def smooth_curve(points: Curve, *, closed: bool = False, steps: int = 12) -> Curve:
    """A Catmull-Rom spline through ``points`` (N, 2), ``steps`` samples per segment."""
    points = np.asarray(points, np.float64)
    if closed:
        padded = np.concatenate([points[-1:], points, points[:2]])
    else:
        ends = 2 * points[[0, -1]] - points[[1, -2]]  # mirrored, so that the ends stay natural
        padded = np.concatenate([ends[:1], points, ends[1:]])
    windows = np.stack([padded[i : len(padded) - 3 + i] for i in range(4)], axis=1)  # (S, 4, 2)
    curve = np.matmul(_basis(steps), windows).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, points[-1:]])


def deepest_point(curve: Curve) -> Curve:
    """The point of ``curve`` (N, 2) farthest from the chord between its ends."""
    chord = curve[-1] - curve[0]
    offset = curve - curve[0]
    deepest = np.argmax(np.abs(chord[0] * offset[:, 1] - chord[1] * offset[:, 0]))
    point: Curve = curve[deepest]
    return point


def halfway_point(curve: Curve) -> Curve:
    """The point that halves the length of ``curve`` (N, 2)."""
    length = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(curve, axis=0).T))])
    half = length[-1] / 2
    return np.array([np.interp(half, length, curve[:, axis]) for axis in (0, 1)])


def outline_curve(contour: Curve) -> Curve:
    """A closed contour as a line, with as many points as drawing needs."""
    return np.concatenate([contour[::5], contour[:1]])


def ellipse(center: tuple[float, float], radii: tuple[float, float], count: int = 40) -> Curve:
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.add(circle * radii, center)


def turn_curve(points: Curve, center: Curve, angle: float, scale: tuple[float, float]) -> Curve:
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.array([[cos, sin], [-sin, cos]])  # row vectors; positive opens the jaw
    turned: Curve = (points - center) * scale @ rotation + center
    return turned


def beside(point: Curve, right: float, down: float) -> Curve:
    """A point so many millimetres from ``point`` (2,)."""
    return np.add(point, (right, down))


def spread(rng: np.random.Generator, width: float) -> float:
    """A number from -width to width."""
    return float(rng.uniform(-width, width))


@lru_cache
def _basis(steps: int) -> NDArray[np.float64]:
    t = np.arange(steps) / steps
    powers = np.stack([np.ones_like(t), t, t**2, t**3], axis=1)
    matrix = np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]]) / 2
    return powers @ matrix  # (steps, 4)
