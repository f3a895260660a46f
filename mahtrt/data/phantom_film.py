"""The film of a phantom: parts in millimetres become attenuation, and attenuation a picture.

Every part adds its attenuation along the beam, the film answers with an exposure curve, and noise,
blur and collimation come on top.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mahtrt.data.phantom_curves import Curve, Part

_SHIFT = 6  # fractional bits of OpenCV's drawing coordinates
_REDUCE = 4  # soft parts are drawn this many times smaller


@dataclass(frozen=True, slots=True)
class Pose:
    """From the anatomic frame (mm) to pixels: ``x @ matrix + offset``."""

    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]
    px_per_mm: float

    def __call__(self, points_mm: Curve) -> Curve:
        return points_mm @ self.matrix + self.offset


def attenuate(
    rng: np.random.Generator, parts: Sequence[Part], pose: Pose, size: tuple[int, int]
) -> NDArray[np.float32]:
    """What the parts take from the beam, (height, width), thicker here and thinner there."""
    canvas = np.zeros(size, np.float32)
    low = np.zeros((size[0] // _REDUCE + 1, size[1] // _REDUCE + 1), np.float32)
    for part in parts:
        curves = [pose(curve) for curve in part.curves]
        if part.soft:
            small = [(curve + 0.5) / _REDUCE - 0.5 for curve in curves]
            add_part(low, small, part, pose.px_per_mm / _REDUCE)
        else:
            add_part(canvas, curves, part, pose.px_per_mm)
    low = cv2.GaussianBlur(low, (0, 0), 1.6 * pose.px_per_mm / _REDUCE)
    canvas += _enlarge(low, size)
    # Thickness varies slowly over the head (and so does the beam).
    coarse = rng.standard_normal((6, 6), np.float32) * np.float32(0.07) + 1
    uneven = cv2.resize(coarse, low.shape[::-1], interpolation=cv2.INTER_CUBIC)
    canvas *= _enlarge(uneven, size)
    return canvas


def _enlarge(low: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    full: NDArray[np.float32] = cv2.resize(
        low, None, fx=_REDUCE, fy=_REDUCE, interpolation=cv2.INTER_LINEAR
    )
    return full[: size[0], : size[1]]


def add_part(
    canvas: NDArray[np.float32], curves: list[Curve], part: Part, px_per_mm: float
) -> None:
    """Add the part's attenuation, in the rectangle that it touches."""
    fixed = [np.rint(curve * 2**_SHIFT).astype(np.int32) for curve in curves]
    pad = 2 + int((part.width_mm or 0) * px_per_mm)
    x, y, width, height = cv2.boundingRect(fixed[0])  # in 1/64 px; the first curve is the largest
    left, top = max(0, (x >> _SHIFT) - pad), max(0, (y >> _SHIFT) - pad)
    right = min(canvas.shape[1], ((x + width) >> _SHIFT) + pad + 1)
    bottom = min(canvas.shape[0], ((y + height) >> _SHIFT) + pad + 1)
    if right <= left or bottom <= top:
        return
    mask = np.zeros((bottom - top, right - left), np.uint8)
    for curve in fixed:
        curve -= np.array([left << _SHIFT, top << _SHIFT], np.int32)
    if part.width_mm is None:
        cv2.fillPoly(mask, fixed, 255, lineType=cv2.LINE_AA, shift=_SHIFT)
        strength = part.density
    else:
        width_px = part.width_mm * px_per_mm
        thickness = max(1, round(width_px))
        cv2.polylines(mask, fixed, False, 255, thickness, cv2.LINE_AA, shift=_SHIFT)
        strength = part.density * width_px / thickness
    region = canvas[top:bottom, left:right]
    cv2.scaleAdd(mask.astype(np.float32), strength / 255, region, dst=region)


def expose(attenuation: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Blur, film response, noise and collimation: attenuation to gray values."""
    height, width = attenuation.shape
    value = cv2.GaussianBlur(attenuation, (0, 0), rng.uniform(0.45, 0.95) * height / 540)
    # In place throughout: a fresh array per step costs as much as its arithmetic.
    value *= np.float32(-rng.uniform(0.75, 1.15))
    np.subtract(1, cv2.exp(value, value), out=value)
    # A quadratic stands for the gamma (0.7 to 1.5): a power would take a third of the time.
    term, rest = np.float32(rng.uniform(-0.4, 0.45)) * value, 1 - value
    value += np.multiply(term, rest, out=term)
    dark, bright = rng.uniform(0.02, 0.07), rng.uniform(0.84, 1.04)
    value *= np.float32(bright - dark)
    value += np.float32(dark)
    # Fewer quanta reach the detector behind bone, where the picture is bright.
    electronic, quantum = rng.uniform(0.003, 0.012), rng.uniform(0.005, 0.03)
    np.multiply(value, np.float32(quantum), out=term)
    term += np.float32(electronic)
    value += np.multiply(term, _noise(rng, (height, width)), out=term)
    _collimate(value, rng)
    np.maximum(value, 0, out=value)
    image: NDArray[np.uint8] = cv2.convertScaleAbs(value, alpha=255)  # rounds and saturates
    return image


def _noise(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    """Noise of deviation 1: the sum of two bytes, a triangle that is far cheaper than a normal."""
    first = np.frombuffer(rng.bytes(2 * size[0] * size[1]), np.uint8).reshape(2, *size)
    scale = np.sqrt(6) / 256  # the deviation of the sum is 256 / sqrt(6)
    noise: NDArray[np.float32] = cv2.addWeighted(
        first[0], scale, first[1], scale, -255 * scale, dtype=cv2.CV_32F
    )
    return noise


def _collimate(value: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Cover the border outside the beam, in place: straight blades or a rounded cone."""
    if rng.random() < 0.5:
        return
    height, width = value.shape
    tone = 0.02 if rng.random() < 0.7 else rng.uniform(0.85, 1.0)
    left, top, right, bottom = (rng.uniform(0, 0.018, 4) * np.tile([width, height], 2)).astype(int)
    if rng.random() < 0.5:
        radius = int(rng.uniform(0.03, 0.12) * width)
        inside = np.zeros((height, width), np.uint8)
        x0, y0, x1, y1 = left, top, width - 1 - right, height - 1 - bottom
        cv2.rectangle(inside, (x0 + radius, y0), (x1 - radius, y1), 255, -1)
        cv2.rectangle(inside, (x0, y0 + radius), (x1, y1 - radius), 255, -1)
        for x in (x0 + radius, x1 - radius):
            for y in (y0 + radius, y1 - radius):
                cv2.circle(inside, (x, y), radius, 255, -1)
        value[inside == 0] = tone
        return
    value[:top], value[height - bottom :] = tone, tone
    value[:, :left], value[:, width - right :] = tone, tone
