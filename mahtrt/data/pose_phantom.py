"""Pose phantoms: seeded 64x64 gray figures with COCO's 17 keypoints and who of them can be seen.

A figure faces the viewer: a torso, a head with a face, arms and legs whose joints bend at random,
brighter than the uneven background. A point cannot be seen where another thing covers it: a box, or
the torso before an arm that is held behind it. Points beyond the border are not annotated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mahtrt.data.sample import Sample
from mahtrt.data.synthetic import SyntheticDataset

__all__ = ["COCO_KEYPOINTS", "PoseDataset", "make_pose"]

# The order of the COCO keypoints task: https://cocodataset.org/#keypoints-2020.
COCO_KEYPOINTS = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow"),
    *("left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
)
POSE_SIZE_PX = 64
_FINE = 4  # figures are drawn this many times larger
_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates

Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Figure:
    """A figure to draw.

    Attributes:
        points: (17, 2) x, y in the image's pixels.
        torso_px: Length of the torso.
        behind: Per side (left, right) whether the arm is held behind the torso.
    """

    points: Points
    torso_px: float
    behind: tuple[bool, bool]


def make_pose(seed: int | np.random.SeedSequence, name: str = "pose") -> Sample:
    """Draw one figure.

    Args:
        seed: Equal seeds give equal figures.
        name: Name of the sample.

    Returns:
        A 64x64 gray uint8 image with the points of :data:`COCO_KEYPOINTS`, NaN outside the image,
        and which of them can be seen.
    """
    rng = np.random.default_rng(seed)
    figure = _draw_figure(rng)
    canvas = _background(rng)
    tones = _tones(rng, canvas)
    for side in (0, 1):
        if figure.behind[side]:
            _draw_arm(canvas, figure, side, tones[1])
    _draw_body(canvas, figure, tones)
    hidden = _behind_torso(figure)
    for side in (0, 1):
        if not figure.behind[side]:
            _draw_arm(canvas, figure, side, tones[1])
    hidden |= _draw_box(rng, canvas, figure.points)
    inside = _within(figure.points, -0.5, POSE_SIZE_PX - 0.5)
    points = np.where(inside[:, None], figure.points, np.nan).astype(np.float32)
    visible = (inside & ~hidden).astype(np.float32)
    return Sample(name, _photograph(rng, canvas), points, visible=visible)


class PoseDataset(SyntheticDataset):
    """``count`` figures; item ``i`` is drawn from the pair (seed, i), so seeds never share any.

    Args:
        count: Number of figures.
        seed: From 0 to 2^64 - 1.
        points: Indices into :data:`COCO_KEYPOINTS` of the points to give; all where None.

    Raises:
        DataError: A count, seed or point out of range.
    """

    def __init__(self, count: int, seed: int = 0, points: Sequence[int] | None = None) -> None:
        super().__init__("phantom-pose", len(COCO_KEYPOINTS), count, seed, points)

    def draw(self, seed: np.random.SeedSequence, name: str) -> Sample:
        """See :meth:`mahtrt.data.synthetic.SyntheticDataset.draw`."""
        return make_pose(seed, name)


def _draw_figure(rng: np.random.Generator) -> _Figure:
    """A figure in torso lengths, its hips at the origin, then turned, scaled and placed."""
    behind = (bool(rng.random() < 0.2), bool(rng.random() < 0.2))
    face = np.array([[0.0, -1.38], [0.09, -1.47], [-0.09, -1.47], [0.2, -1.42], [-0.2, -1.42]])
    face += np.array([rng.uniform(-0.08, 0.08), rng.uniform(-0.05, 0.05)])
    rows: list[Points] = [face]
    limbs = []
    for side, sign in enumerate((1.0, -1.0)):
        shoulder, hip = np.array([0.34 * sign, -1.0]), np.array([0.2 * sign, 0.0])
        upper = rng.uniform(10, 30) if behind[side] else rng.uniform(5, 140)
        lower = -rng.uniform(90, 120) if behind[side] else rng.uniform(-20, 110)
        elbow = shoulder + _bone(sign, upper, 0.55)
        wrist = elbow + _bone(sign, upper + lower, 0.5)
        thigh, shin = rng.uniform(-8, 45), rng.uniform(-50, 12)
        knee = hip + _bone(sign, thigh, 0.8)
        limbs.append((shoulder, elbow, wrist, hip, knee, knee + _bone(sign, thigh + shin, 0.75)))
    rows += [np.stack(pair) for pair in zip(*limbs, strict=True)]
    points = np.concatenate(rows)
    angle, torso_px = np.radians(rng.uniform(-20, 20)), rng.uniform(12.0, 20.0)
    cos, sin = np.cos(angle), np.sin(angle)
    points = points @ np.array([[cos, sin], [-sin, cos]]) * torso_px
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    points += (POSE_SIZE_PX - 1) / 2 - middle + rng.uniform(-6, 6, 2)
    return _Figure(points, torso_px, behind)


def _bone(sign: float, degrees: float, length: float) -> Points:
    """A bone that hangs down at 0 degrees and points away from the body at 90."""
    angle = np.radians(degrees)
    return np.array([sign * np.sin(angle), np.cos(angle)]) * length


def _background(rng: np.random.Generator) -> NDArray[np.float32]:
    coarse = rng.uniform(0.05, 0.35) + rng.standard_normal((4, 4)) * 0.06
    side = POSE_SIZE_PX * _FINE
    canvas: NDArray[np.float32] = cv2.resize(
        coarse.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR
    )
    return canvas


def _tones(rng: np.random.Generator, canvas: NDArray[np.float32]) -> tuple[float, float, float]:
    """Gray values of torso and legs, of arms and head, and of the face's features."""
    clothes = float(canvas.mean()) + rng.uniform(0.25, 0.45)
    skin = clothes + rng.uniform(0.08, 0.2)
    return clothes, skin, skin - 0.35


def _draw_body(
    canvas: NDArray[np.float32], figure: _Figure, tones: tuple[float, float, float]
) -> None:
    clothes, skin, features = tones
    points, unit = figure.points, figure.torso_px
    for first, second, third in ((11, 13, 15), (12, 14, 16)):
        _draw_line(canvas, points[[first, second]], 0.2 * unit, clothes)
        _draw_line(canvas, points[[second, third]], 0.16 * unit, clothes)
    _fill(canvas, points[[5, 6, 12, 11]], clothes)
    _draw_line(canvas, points[[5, 6, 12, 11, 5]], 0.16 * unit, clothes)
    neck = points[[5, 6]].mean(axis=0)
    _draw_line(canvas, np.stack([neck, points[0]]), 0.16 * unit, skin)
    _draw_disc(canvas, points[[3, 4]].mean(axis=0), 0.24 * unit, skin)
    for index, radius in ((0, 0.04), (1, 0.045), (2, 0.045), (3, 0.06), (4, 0.06)):
        _draw_disc(canvas, points[index], radius * unit, skin if index > 2 else features)


def _draw_arm(canvas: NDArray[np.float32], figure: _Figure, side: int, tone: float) -> None:
    shoulder, elbow, wrist = figure.points[[5 + side, 7 + side, 9 + side]]
    _draw_line(canvas, np.stack([shoulder, elbow]), 0.15 * figure.torso_px, tone)
    _draw_line(canvas, np.stack([elbow, wrist]), 0.12 * figure.torso_px, tone)
    _draw_disc(canvas, wrist, 0.09 * figure.torso_px, tone)


def _behind_torso(figure: _Figure) -> NDArray[np.bool_]:
    """Which points lie behind the torso: elbows and wrists of arms that are held there."""
    hidden = np.zeros(len(COCO_KEYPOINTS), np.bool_)
    outline = figure.points[[5, 6, 12, 11]].astype(np.float32)
    for side in (0, 1):
        for index in (7 + side, 9 + side):
            x, y = figure.points[index].tolist()
            covered = cv2.pointPolygonTest(outline, (x, y), False) >= 0
            hidden[index] = figure.behind[side] and covered
    return hidden


def _draw_box(
    rng: np.random.Generator, canvas: NDArray[np.float32], points: Points
) -> NDArray[np.bool_]:
    """A box in front of some figures; which points it covers."""
    if rng.random() < 0.5:
        return np.zeros(len(points), np.bool_)
    centre, half = rng.uniform(8, POSE_SIZE_PX - 8, 2), rng.uniform(4, 11, 2)
    low, high = centre - half, centre + half
    corners = np.array([low, [high[0], low[1]], high, [low[0], high[1]]])
    _fill(canvas, corners, rng.uniform(0, 1))
    return _within(points, low, high)


def _within(points: Points, low: Points | float, high: Points | float) -> NDArray[np.bool_]:
    """Which points lie in a box, its far border excluded."""
    within: NDArray[np.bool_] = np.all((points >= low) & (points < high), axis=1)
    return within


def _photograph(rng: np.random.Generator, canvas: NDArray[np.float32]) -> NDArray[np.uint8]:
    small = cv2.resize(canvas, (POSE_SIZE_PX, POSE_SIZE_PX), interpolation=cv2.INTER_AREA)
    noise = rng.standard_normal(small.shape).astype(np.float32) * rng.uniform(0.005, 0.03)
    image: NDArray[np.uint8] = cv2.convertScaleAbs(np.maximum(small + noise, 0), alpha=255)
    return image


def _fixed(points: Points) -> NDArray[np.int32]:
    """Pixels of the image as the drawing coordinates of the larger canvas."""
    fine = (points + 0.5) * _FINE - 0.5
    fixed: NDArray[np.int32] = np.rint(fine * 2**_SHIFT).astype(np.int32)
    return fixed


def _draw_line(canvas: NDArray[np.float32], points: Points, width_px: float, tone: float) -> None:
    thickness = max(1, round(width_px * _FINE))
    cv2.polylines(canvas, [_fixed(points)], False, tone, thickness, cv2.LINE_8, _SHIFT)


def _fill(canvas: NDArray[np.float32], corners: Points, tone: float) -> None:
    cv2.fillPoly(canvas, [_fixed(corners)], tone, cv2.LINE_8, _SHIFT)


def _draw_disc(canvas: NDArray[np.float32], centre: Points, radius_px: float, tone: float) -> None:
    x, y = _fixed(centre).tolist()
    radius = max(1, round(radius_px * _FINE * 2**_SHIFT))
    cv2.circle(canvas, (x, y), radius, tone, -1, cv2.LINE_8, _SHIFT)
