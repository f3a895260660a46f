"""The chest that the pairs of visits show: attenuation of its parts, and findings in its lungs.

Everything is in shares of the image's sides: (0, 0) is the top left corner and (1, 1) the bottom
right, and x counts as the viewer sees it, so the patient's right lung is on the left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]

SIDES, LEVELS, KINDS = ("right", "left"), ("upper", "middle", "lower"), ("nodule", "opacity")
ZONE_LABELS = tuple(
    f"{side}_{level}_{kind}" for kind in KINDS for side in SIDES for level in LEVELS
)
CHEST_LABELS = (*ZONE_LABELS, "effusion", "enlarged_heart")

_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates
_REDUCE = 4  # soft parts are drawn this many times smaller
# Middles of the zones of the patient's right lung, and how far a finding may be from them.
_ZONES = np.array([[0.33, 0.28], [0.29, 0.46], [0.27, 0.62]])
_SPREAD = np.array([0.05, 0.06])


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in a lung that may change between two visits.

    Attributes:
        label: Index into :data:`CHEST_LABELS`.
        center: x, y in shares of the image's sides.
        radius: (x, y) in the same.
        angle: Radians by which the ellipse is turned.
        is_sharp: A nodule with a border, or an opacity that fades out.
        strength: Attenuation that it adds in its middle.
    """

    label: int
    center: tuple[float, float]
    radius: tuple[float, float]
    angle: float
    is_sharp: bool
    strength: float


def draw_finding(rng: np.random.Generator, label: int) -> Finding:
    """A finding of one of the labels of zones, or an effusion, somewhere in its zone."""
    angle = rng.uniform(-0.5, 0.5)
    if label == CHEST_LABELS.index("effusion"):
        x = 0.25 if rng.random() < 0.5 else 0.75
        center = (x + rng.uniform(-0.02, 0.02), rng.uniform(0.74, 0.78))
        radius = (rng.uniform(0.12, 0.16), rng.uniform(0.05, 0.09))
        return Finding(label, center, radius, 0.2 * angle, False, rng.uniform(0.5, 0.8))
    kind, side, level = np.unravel_index(label, (len(KINDS), len(SIDES), len(LEVELS)))
    x, y = _ZONES[level] + rng.uniform(-_SPREAD, _SPREAD)
    is_sharp = KINDS[kind] == "nodule"
    size = rng.uniform(0.022, 0.04) if is_sharp else rng.uniform(0.06, 0.1)
    return Finding(
        label=label,
        center=(x if SIDES[side] == "right" else 1 - x, y),
        radius=(size * rng.uniform(0.85, 1.2), size * rng.uniform(0.85, 1.2)),
        angle=angle,
        is_sharp=is_sharp,
        strength=rng.uniform(0.35, 0.6) if is_sharp else rng.uniform(0.3, 0.6),
    )


def add_finding(plane: Plane, finding: Finding, grown: float, strength: float) -> None:
    """Add a finding's attenuation to a plane, in place.

    Args:
        plane: (H, W).
        finding: What to add.
        grown: Its radius at this visit, in parts of the finding's own; 0 adds nothing.
        strength: Attenuation in its middle.
    """
    height, width = plane.shape
    radius = np.array(finding.radius) * (width, height) * grown
    if radius.min() < 0.5:
        return
    center = np.array(finding.center) * (width, height) - 0.5
    reach = (1.3 if finding.is_sharp else 2.2) * radius.max()
    x0, y0 = np.maximum(np.floor(center - reach).astype(int), 0)
    x1, y1 = np.minimum(np.ceil(center + reach).astype(int) + 1, (width, height))
    dx = np.arange(x0, x1, dtype=np.float32)[None, :] - np.float32(center[0])
    dy = np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(center[1])
    cos, sin = np.float32(np.cos(finding.angle)), np.float32(np.sin(finding.angle))
    square = ((cos * dx + sin * dy) / np.float32(radius[0])) ** 2
    square += ((cos * dy - sin * dx) / np.float32(radius[1])) ** 2
    if finding.is_sharp:
        profile = np.clip((1.5 - square) * 2, 0, 1)
    else:
        profile = np.clip(1 - square / 4.5, 0, 1) ** 2
    plane[y0:y1, x0:x1] += np.float32(strength) * profile.astype(np.float32)


def draw_chest(rng: np.random.Generator, size: tuple[int, int], heart: float) -> Plane:
    """The attenuation of a chest without findings.

    Args:
        rng: Decides everything that differs between patients.
        size: (height, width) in pixels.
        heart: Half width of the heart in shares of the image's width; about 0.11 is usual.
    """
    low = np.zeros((-(-size[0] // _REDUCE), -(-size[1] // _REDUCE)), np.float32)
    _ellipse(low, (0.5, 0.62), (rng.uniform(0.45, 0.49), rng.uniform(0.56, 0.62)), 0, 0.9)
    low = cv2.GaussianBlur(low, (0, 0), 3)
    lungs = np.zeros_like(low)
    top, bottom = rng.uniform(0.12, 0.16), rng.uniform(0.74, 0.8)
    for is_left in (False, True):
        _fill(lungs, _mirrored(_lung(rng, top, bottom - 0.03 * is_left), is_left), 1)
    low -= np.float32(rng.uniform(0.55, 0.68)) * cv2.GaussianBlur(lungs, (0, 0), 1.2)
    shade = np.zeros_like(low)
    _fill(shade, _box(0.5, 0.5, rng.uniform(0.045, 0.06), 0.6), 0.45)
    _ellipse(shade, (0.5 + 0.35 * heart, 0.62), (heart, 0.13), 25, rng.uniform(0.45, 0.6))
    low += cv2.GaussianBlur(shade, (0, 0), 1.5)
    coarse = rng.standard_normal((5, 5), np.float32) * np.float32(0.05) + 1
    low *= cv2.resize(coarse, low.shape[::-1], interpolation=cv2.INTER_CUBIC)
    plane: Plane = cv2.resize(low, size[::-1], interpolation=cv2.INTER_LINEAR)
    _add_lines(plane, rng)
    return plane


def _add_lines(plane: Plane, rng: np.random.Generator) -> None:
    """Ribs, clavicles and vessels: what a difference of two visits has to look past."""
    width = plane.shape[1]
    lines = np.zeros(plane.shape, np.uint8)
    bend, gap = rng.uniform(0.1, 0.16), rng.uniform(0.066, 0.076)
    for is_left in (False, True):
        for rib in range(9):
            x = np.linspace(0.46, 0.1 if rib > 1 else 0.18, 12)
            y = 0.12 + gap * rib + bend * (0.46 - x) - 0.9 * (0.46 - x) ** 2 + 1.6 * bend * rib / 9
            curve = np.stack([x, y - 0.35 * (0.46 - x) * rib / 9], axis=1)
            _line(lines, _mirrored(curve, is_left), max(1, round(0.016 * width)), 90)
        clavicle = np.array([[0.47, 0.17], [0.34, 0.135], [0.14, 0.1 + rng.uniform(-0.01, 0.02)]])
        _line(lines, _mirrored(clavicle, is_left), max(1, round(0.024 * width)), 130)
        for _ in range(7):
            start = np.array([0.41, rng.uniform(0.4, 0.5)])
            end = np.array([rng.uniform(0.2, 0.36), rng.uniform(0.25, 0.7)])
            middle = (start + end) / 2 + rng.uniform(-0.02, 0.02, 2)
            vessel = _mirrored(np.stack([start, middle, end]), is_left)
            _line(lines, vessel, max(1, round(0.007 * width)), 50)
    cv2.scaleAdd(lines.astype(np.float32), 0.3 / 255, plane, dst=plane)


def _lung(rng: np.random.Generator, top: float, bottom: float) -> NDArray[np.float64]:
    """The outline of the patient's right lung."""
    outline = np.array(
        [
            [0.33, top],
            [0.42, top + 0.09],
            [0.44, 0.35],
            [0.44, bottom - 0.06],
            [0.34, bottom - 0.05],
            [0.2, bottom],
            [0.12, bottom + 0.03],
            [0.13, 0.55],
            [0.18, 0.3],
            [0.25, top + 0.04],
        ]
    )
    return outline + rng.uniform(-0.008, 0.008, outline.shape)


def _box(x: float, y: float, half_width: float, half_height: float) -> NDArray[np.float64]:
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    return np.array([x, y]) + corners * (half_width, half_height)


def _mirrored(curve: NDArray[np.float64], is_left: bool) -> NDArray[np.float64]:
    return np.array([1.0, 0.0]) + curve * (-1.0, 1.0) if is_left else curve


def _fixed(curve: NDArray[np.float64], size: Sequence[int]) -> NDArray[np.int32]:
    pixels = curve * (size[1], size[0]) - 0.5
    fixed: NDArray[np.int32] = np.rint(pixels * 2**_SHIFT).astype(np.int32)
    return fixed


def _fill(plane: Plane, curve: NDArray[np.float64], value: float) -> None:
    mask = np.zeros(plane.shape, np.uint8)
    cv2.fillPoly(mask, [_fixed(curve, plane.shape)], 255, lineType=cv2.LINE_AA, shift=_SHIFT)
    cv2.scaleAdd(mask.astype(np.float32), value / 255, plane, dst=plane)


def _ellipse(
    plane: Plane,
    center: tuple[float, float],
    radius: tuple[float, float],
    degrees: float,
    value: float,
) -> None:
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    angle = np.radians(degrees)
    circle = np.stack([np.cos(turn) * radius[0], np.sin(turn) * radius[1]], axis=1)
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    _fill(plane, np.array(center) + circle @ rotation, value)


def _line(lines: NDArray[np.uint8], curve: NDArray[np.float64], thickness: int, gray: int) -> None:
    fixed = [_fixed(curve, lines.shape)]
    cv2.polylines(lines, fixed, False, gray, thickness, cv2.LINE_AA, shift=_SHIFT)
