"""Spine phantoms: seeded synthetic lateral views of the lower back with 20 corners and a spacing.

Five lumbar vertebrae between the lowest thoracic one and the sacrum, in a random curve, tilt and
place, shone through as :mod:`mahtrt.data.phantom_film` does it. Corners are those of the drawn
bodies. Which 20 points a spine network is to find its source does not say, only that there are
vertebrae and corners; here they are L1 to L5 with four corners each, the front to the right.
Phantoms are for the demo, for tests and for trying things without data; they say nothing about how
well a network does on patients.

The anatomic frame has its origin at the middle of L3, x to the front, y down, in millimetres.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mahtrt.data.phantom_curves import Curve, Part, ellipse, smooth_curve, spread, turn_curve
from mahtrt.data.phantom_film import Pose, attenuate, expose
from mahtrt.data.sample import Sample
from mahtrt.data.synthetic import SyntheticDataset
from mahtrt.errors import DataError

__all__ = ["SPINE_LANDMARKS", "SpineDataset", "make_spine"]

VERTEBRAE = ("l1", "l2", "l3", "l4", "l5")
CORNERS = ("superior_anterior", "superior_posterior", "inferior_anterior", "inferior_posterior")
SPINE_LANDMARKS = tuple(f"{vertebra}_{corner}" for vertebra in VERTEBRAE for corner in CORNERS)

_MARGIN_MM = 8.0  # of every corner to the border of the image
_LEAST_SIDE = 64
_STEPS = 10  # points on each side of a body's outline
_THORACIC, _SACRUM = 0, 6  # of the seven bodies drawn; L1 to L5 lie between


@dataclass(frozen=True, slots=True)
class _Body:
    """A vertebral body: its four corners (4, 2) in the order of CORNERS, outline, and directions.

    Attributes:
        back: From its middle to the middle of its rear wall.
        angle: By which it is turned, in radians; positive lowers its front.
    """

    corners: Curve
    outline: Curve
    middle: Curve
    back: Curve
    angle: float


def make_spine(
    seed: int | np.random.SeedSequence,
    name: str = "spine",
    *,
    size: tuple[int, int] | None = None,
) -> Sample:
    """Draw one lower back from the side.

    Args:
        seed: Equal seeds give equal phantoms.
        name: Name of the sample.
        size: (height, width) in pixels, at least 64 each; None draws an acquisition size.

    Returns:
        A gray uint8 image with :data:`SPINE_LANDMARKS` and its pixel spacing.

    Raises:
        DataError: A size too small to show anything.
    """
    if size is not None and min(size) < _LEAST_SIDE:
        expected = f"at least {_LEAST_SIDE} pixels on each side"
        raise DataError("spine phantom size", got=f"{size}", expected=expected)
    rng = np.random.default_rng(seed)
    height = int(rng.integers(500, 601))
    height, width = size or (height, int(height * rng.uniform(0.62, 0.85)))
    bodies = _draw_bodies(rng)
    corners_mm = np.concatenate([body.corners for body in bodies[_THORACIC + 1 : _SACRUM]])
    pose, spacing = _draw_pose(rng, corners_mm, (height, width))
    parts = (*_soft_tissue(rng), *_bones(rng, bodies))
    image = expose(attenuate(rng, parts, pose, (height, width)), rng)
    points = pose(corners_mm).astype(np.float32)
    return Sample(name, image, points, spacing_mm=(spacing, spacing))


class SpineDataset(SyntheticDataset):
    """``count`` spines; item ``i`` is drawn from the pair (seed, i), so seeds never share any.

    Args:
        count: Number of spines.
        seed: From 0 to 2^64 - 1.
        points: Indices into :data:`SPINE_LANDMARKS` of the corners to give; all where None.

    Raises:
        DataError: A count, seed or point out of range.
    """

    def __init__(self, count: int, seed: int = 0, points: Sequence[int] | None = None) -> None:
        super().__init__("phantom-spine", len(SPINE_LANDMARKS), count, seed, points)

    def draw(self, seed: np.random.SeedSequence, name: str) -> Sample:
        """See :meth:`mahtrt.data.synthetic.SyntheticDataset.draw`."""
        return make_spine(seed, name)


def _draw_bodies(rng: np.random.Generator) -> list[_Body]:
    """T12, L1 to L5 and the sacrum, from above, along a curve that bulges to the front."""
    lordosis, tilt = np.radians(rng.uniform(12, 55)), np.radians(spread(rng, 6))
    angles = tilt + lordosis * (np.arange(7) - 3) / 4 + np.radians(rng.uniform(-1.5, 1.5, 7))
    angles[_SACRUM] += np.radians(rng.uniform(5, 15))
    scale = 1 + spread(rng, 0.1)
    widths = scale * (np.array([30.0, 32, 33, 34, 34.5, 34, 31]) + rng.uniform(-1, 1, 7))
    heights = scale * (np.array([23.0, 25, 26, 26.5, 26.5, 26, 27]) + rng.uniform(-1.2, 1.2, 7))
    discs = scale * (np.array([5.5, 7.0, 8.0, 9.0, 9.5, 8.5]) * rng.uniform(0.6, 1.15, 6))
    down = np.stack([-np.sin(angles), np.cos(angles)], axis=1)
    middles = np.zeros((7, 2))
    for i in range(1, 7):
        between = (heights[i - 1] * down[i - 1] + heights[i] * down[i]) / 2
        middles[i] = middles[i - 1] + between + discs[i - 1] * (down[i - 1] + down[i]) / 2
    middles -= middles[3]
    return [
        _body(rng, middles[i], float(angles[i]), (widths[i], heights[i]), narrowing=i == _SACRUM)
        for i in range(7)
    ]


def _body(
    rng: np.random.Generator,
    middle: Curve,
    angle: float,
    size: tuple[float, float],
    *,
    narrowing: bool,
) -> _Body:
    x, y = size[0] / 2, size[1] / 2
    wedge = spread(rng, 0.06) * y  # a front lower than the back, or higher
    below = 0.72 if narrowing else 1.0
    corners = np.array(
        [[x, -y + wedge], [-x, -y], [x * below, y - wedge], [-x * below, y]], np.float64
    )
    # Round the body: end plates and walls sag inwards.
    order, sags = (0, 2, 3, 1), (1.8, 1.6, 1.2, 1.6)
    sides = zip(order, (*order[1:], order[0]), sags, strict=True)
    outline = np.concatenate(
        [_side(corners[a], corners[b], sag + spread(rng, 0.6)) for a, b, sag in sides]
    )
    back = np.array([-x, 0.0])
    turned = [turn_curve(curve, np.zeros(2), angle, (1.0, 1.0)) for curve in (corners, outline)]
    rear: Curve = turn_curve(back[None], np.zeros(2), angle, (1.0, 1.0))[0]
    return _Body(turned[0] + middle, turned[1] + middle, middle, rear, angle)


def _side(start: Curve, end: Curve, sag: float) -> Curve:
    """A side from corner to corner, hollow by ``sag`` towards the middle of the body, at 0."""
    t = np.arange(_STEPS)[:, None] / _STEPS
    inward = -(start + end) / np.linalg.norm(start + end)
    curve: Curve = start + (end - start) * t + inward * (sag * 4 * t * (1 - t))
    return curve


def _draw_pose(
    rng: np.random.Generator, corners_mm: Curve, size: tuple[int, int]
) -> tuple[Pose, float]:
    """Where the spine lies on the film, and millimetres per pixel."""
    extent = np.array([size[1], size[0]], np.float64)
    around = np.ptp(corners_mm, axis=0) + 2 * _MARGIN_MM
    field_mm = rng.uniform(1.12, 1.4)
    spacing = float((around / extent).max() * field_mm)
    offset = extent / 2 - corners_mm.mean(axis=0) / spacing
    offset += rng.uniform(-0.12, 0.12, 2) * extent
    placed, margin = corners_mm / spacing + offset, _MARGIN_MM / spacing
    offset += np.maximum(margin - placed.min(axis=0), 0)
    offset -= np.maximum(placed.max(axis=0) - (extent - 1 - margin), 0)
    return Pose(np.eye(2) / spacing, offset, px_per_mm=1 / spacing), spacing


def _bones(rng: np.random.Generator, bodies: Sequence[_Body]) -> Iterator[Part]:
    for index, body in enumerate(bodies):
        closed = np.concatenate([body.outline, body.outline[:1]])
        yield Part((body.outline,), 0.30 + spread(rng, 0.03))
        yield Part((closed,), 0.24, width_mm=1.3)
        if index == _SACRUM:
            continue
        along = body.back / np.linalg.norm(body.back)
        pedicle = body.middle + body.back + 5 * along + [0, -3.0]
        process = body.middle + body.back + rng.uniform(28, 34) * along + [0, rng.uniform(4, 9)]
        yield Part((_turned_ellipse(pedicle, (7.5, 4.5), body.angle),), 0.22)
        yield Part((_turned_ellipse(process, (13.0, 7.0), body.angle - 0.3),), 0.2, soft=True)
        joint = body.middle + body.back + 11 * along + [0, 11.0]
        yield Part((_turned_ellipse(joint, (4.0, 9.0), body.angle + 0.25),), 0.18, soft=True)


def _turned_ellipse(middle: Curve, radii: tuple[float, float], angle: float) -> Curve:
    x, y = float(middle[0]), float(middle[1])
    return turn_curve(ellipse((x, y), radii, 24), middle, angle, (1.0, 1.0))


def _soft_tissue(rng: np.random.Generator) -> Iterator[Part]:
    front, back = 105 + spread(rng, 25), -80 + spread(rng, 8)
    outline = [
        *([front - 15, -220.0], [front, -60.0], [front + spread(rng, 12), 40.0]),
        *([front - 10, 220.0], [back - 25, 220.0], [back - 12, 90.0]),
        *([back + 8, 10.0], [back - 4, -80.0], [back - 12, -220.0]),
    ]
    yield Part((smooth_curve(np.array(outline), closed=True, steps=6),), 0.42)
    yield Part((ellipse((35.0, -120.0 + spread(rng, 20)), (75.0, 45.0)),), 0.22, soft=True)  # liver
    wing = ellipse((8.0 + spread(rng, 8), 92.0 + spread(rng, 10)), (38.0, 30.0))  # of the pelvis
    yield Part((wing,), 0.12, soft=True)
    for _ in range(int(rng.integers(2, 7))):  # gas in the bowel
        middle = (rng.uniform(35, 85), rng.uniform(-60, 110))
        radii = (rng.uniform(5, 16), rng.uniform(4, 11))
        yield Part((ellipse(middle, radii, 24),), -0.14, soft=True)
    for _ in range(int(rng.integers(0, 3))):  # the lowest ribs
        y = rng.uniform(-120, -70)
        rib = np.array([[-45.0, y - 15], [0.0, y + 4], [45.0, y + 35]])
        yield Part((smooth_curve(rib),), 0.14, width_mm=4.0)
