"""Phantoms: seeded synthetic lateral cephalograms with seven landmarks and a pixel spacing.

A phantom is an anatomy (``phantom_anatomy``) in a random pose, shone through: every part adds its
attenuation, the film answers with an exposure curve, and noise, blur, collimation, ear rods, a
ruler and metal come on top. Landmarks are those of the drawn contours, moved by the same pose.
Phantoms are for the demo, for tests and for trying things without data; they say nothing about
how well a network does on patients.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mahtrt.data.phantom_anatomy import PHANTOM_LANDMARKS, Anatomy, draw_anatomy
from mahtrt.data.phantom_curves import Curve, Part
from mahtrt.data.sample import Sample
from mahtrt.data.synthetic import SyntheticDataset
from mahtrt.errors import DataError

__all__ = ["PHANTOM_LANDMARKS", "PhantomDataset", "make_phantom"]

_SHIFT = 6  # fractional bits of OpenCV's drawing coordinates
_REDUCE = 4  # soft parts are drawn this many times smaller
_MARGIN_MM = 9.0  # of every landmark to the border of the image


@dataclass(frozen=True, slots=True)
class _Pose:
    """From the anatomic frame (mm) to pixels: ``x @ matrix + offset``."""

    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]
    px_per_mm: float

    def __call__(self, points_mm: Curve) -> Curve:
        return points_mm @ self.matrix + self.offset


def make_phantom(
    seed: int | np.random.SeedSequence, *, size: tuple[int, int] | None = None
) -> Sample:
    """Draw one synthetic cephalogram.

    Args:
        seed: Equal seeds give equal phantoms.
        size: (height, width) in pixels, at least 64 each; None draws an acquisition size.

    Returns:
        A gray uint8 image with :data:`PHANTOM_LANDMARKS` and its pixel spacing.

    Raises:
        DataError: A negative seed, or a size too small to show anything.
    """
    if isinstance(seed, int) and seed < 0:
        raise DataError("phantom seed", got=str(seed), expected="0 or above")
    if size is not None and min(size) < 64:
        raise DataError("phantom size", got=f"{size}", expected="at least 64 pixels on each side")
    rng = np.random.default_rng(seed)
    height = int(rng.integers(480, 581))
    drawn = (height, int(height * rng.uniform(0.84, 1.0)))
    height, width = size or drawn
    # The field is what the detector sees; the shorter side decides when a size is given.
    field_mm = rng.uniform(200.0, 235.0)
    spacing = field_mm / min(height, width / 0.84)
    anatomy = draw_anatomy(rng)
    pose = _draw_pose(rng, anatomy.landmarks_mm, (height, width), spacing)
    attenuation = _attenuation(rng, anatomy, pose, (height, width))
    _add_equipment(attenuation, rng, pose)
    image = _expose(attenuation, rng)
    return Sample(
        name=f"phantom-{seed}" if isinstance(seed, int) else "phantom",
        image=image,
        points_px=pose(anatomy.landmarks_mm).astype(np.float32),
        spacing_mm=(spacing, spacing),
    )


class PhantomDataset(SyntheticDataset):
    """``count`` phantoms; item ``i`` is drawn from the pair (seed, i), so seeds never share any.

    Args:
        count: Number of phantoms.
        seed: From 0 to 2^64 - 1.
        points: Indices into :data:`PHANTOM_LANDMARKS` of the landmarks to give; all where None.

    Raises:
        DataError: A count, seed or point out of range.
    """

    def __init__(self, count: int, seed: int = 0, points: Sequence[int] | None = None) -> None:
        super().__init__("phantom", len(PHANTOM_LANDMARKS), count, seed, points)

    def draw(self, seed: np.random.SeedSequence, name: str) -> Sample:
        """See :meth:`mahtrt.data.synthetic.SyntheticDataset.draw`."""
        return dataclasses.replace(make_phantom(seed), name=name)


def _draw_pose(
    rng: np.random.Generator, landmarks_mm: Curve, size: tuple[int, int], spacing: float
) -> _Pose:
    angle = np.radians(rng.uniform(-10, 10))
    scale = rng.uniform(0.93, 1.06) / spacing
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.array([[cos, sin], [-sin, cos]]) * scale
    extent = np.array([size[1], size[0]], np.float64)
    # A point in the middle of the head goes to the middle of the image, more or less.
    middle = np.array([14.0, 12.0]) @ matrix
    offset = extent / 2 - middle + rng.uniform(-14, 14, 2) / spacing
    placed = landmarks_mm @ matrix + offset
    margin = _MARGIN_MM / spacing
    offset += np.maximum(margin - placed.min(axis=0), 0)
    offset -= np.maximum(placed.max(axis=0) - (extent - 1 - margin), 0)
    return _Pose(matrix, offset, px_per_mm=float(scale))


def _attenuation(
    rng: np.random.Generator, anatomy: Anatomy, pose: _Pose, size: tuple[int, int]
) -> NDArray[np.float32]:
    canvas = np.zeros(size, np.float32)
    low = np.zeros((size[0] // _REDUCE + 1, size[1] // _REDUCE + 1), np.float32)
    for part in anatomy.parts:
        curves = [pose(curve) for curve in part.curves]
        if part.soft:
            small = [(curve + 0.5) / _REDUCE - 0.5 for curve in curves]
            _add_part(low, small, part, pose.px_per_mm / _REDUCE)
        else:
            _add_part(canvas, curves, part, pose.px_per_mm)
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


def _add_part(
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


def _add_equipment(attenuation: NDArray[np.float32], rng: np.random.Generator, pose: _Pose) -> None:
    """Ear rod rings and the nasal rest's ruler, where the draw has them."""
    scale = pose.px_per_mm
    if rng.random() < 0.5:
        center = pose(np.array([[-25.0, 19.0]]) + rng.uniform(-1, 1, 2))[0]
        for radius in (4.5, 1.2):
            angle = np.linspace(0, 2 * np.pi, 40)
            ring = center + radius * scale * np.stack([np.cos(angle), np.sin(angle)], axis=1)
            _add_part(attenuation, [ring], Part((), 1.1, width_mm=1.0), scale)
    if rng.random() < 0.4:
        x = attenuation.shape[1] - rng.uniform(6, 14) * scale
        top = rng.uniform(20, 50) * scale
        for tick in range(10):
            y = top + 10 * tick * scale
            line = np.array([[x - (4 if tick % 5 else 7) * scale, y], [x, y]])
            _add_part(attenuation, [line], Part((), 0.9, width_mm=0.7), scale)
        line = np.array([[x, top], [x, top + 90 * scale]])
        _add_part(attenuation, [line], Part((), 0.9, width_mm=0.7), scale)


def _expose(attenuation: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
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
