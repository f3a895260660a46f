"""The anatomy of a phantom: contours in millimetres, and the landmarks that lie on them.

The anatomic frame has its origin at the sella, x to the front, y down, in millimetres. Landmarks
are computed from the very curves that are drawn: sella is the centre of the cup's arc, nasion the
corner where the frontal and the nasal bone meet, A-point and B-point are where the front of the
maxilla and of the mandible lie deepest behind the chord over their concavity, pogonion and menton
are the most anterior and the lowest point of the chin, gnathion halves the contour between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mahtrt.data.phantom_curves import (
    Curve,
    Part,
    beside,
    deepest_point,
    ellipse,
    halfway_point,
    outline_curve,
    smooth_curve,
    spread,
    turn_curve,
)

PHANTOM_LANDMARKS = (
    "sella",
    "nasion",
    "a_point",
    "b_point",
    "pogonion",
    "menton",
    "gnathion",
)

_CONDYLE = np.array([-13.0, 16.0])


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What is drawn, and where the landmarks (7, 2) of :data:`PHANTOM_LANDMARKS` are, in mm."""

    parts: tuple[Part, ...]
    landmarks_mm: Curve


@dataclass(frozen=True, slots=True)
class _Maxilla:
    contour: Curve
    a_point: Curve
    prosthion: Curve


@dataclass(frozen=True, slots=True)
class _Mandible:
    contour: Curve
    back: Curve  # the rear and lower border, for the double shadow of the other side
    crest: Curve  # top of the alveolar ridge, back to front
    b_point: Curve
    pogonion: Curve
    menton: Curve
    gnathion: Curve


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw the proportions of one head from ``rng``."""
    nasion = np.array([69.0 * (1 + spread(rng, 0.08)), -8.0 + spread(rng, 3.0)])
    drop = 1 + spread(rng, 0.09)  # height of the midface
    maxilla = _maxilla(rng, nasion, drop)
    mandible = _mandible(rng, rotation=0.65 * (drop - 1) + rng.uniform(-0.05, 0.08))
    sella_radius = 5.2 * (1 + spread(rng, 0.15))
    landmarks = np.stack(
        [
            np.zeros(2),
            nasion,
            maxilla.a_point,
            mandible.b_point,
            mandible.pogonion,
            mandible.menton,
            mandible.gnathion,
        ]
    )
    parts = (
        *_soft_tissue(rng, nasion, maxilla, mandible),
        *_cranium(rng, nasion),
        *_base(rng, nasion, sella_radius),
        *_midface(rng, nasion, maxilla),
        Part((mandible.contour,), 0.42),
        Part((outline_curve(mandible.contour),), 0.30, width_mm=1.3),
        Part((mandible.back + rng.uniform(-3, 3, 2),), 0.22, width_mm=1.2),
        *_teeth(rng, maxilla, mandible),
        *_vertebrae(rng),
    )
    return Anatomy(parts=parts, landmarks_mm=landmarks)


def _maxilla(rng: np.random.Generator, nasion: Curve, drop: float) -> _Maxilla:
    depth = 5.0 * (1 + spread(rng, 0.25))  # of the concavity
    front = [
        [73.5, 44.0],
        [71.5 - 0.75 * depth, 47.0],
        [71.0 - depth, 51.5],
        [70.8 - 0.35 * depth, 56.5],
        [71.5, 60.5],
    ]
    rest = [[66.0, 62.5], [50.0, 63.5], [30.0, 61.0], [22.0, 53.0], [19.0, 45.0], [45.0, 42.0]]
    points = np.array(front + rest)
    points[:, 0] = 20 + (points[:, 0] - 20) * (1 + spread(rng, 0.05))
    points[:, 0] += nasion[0] - 69 + spread(rng, 3.5)
    points[:, 1] = nasion[1] + (points[:, 1] + 8) * drop
    steps = 40
    contour = smooth_curve(points, closed=True, steps=steps)
    concavity = contour[: 4 * steps + 1]
    return _Maxilla(contour, a_point=deepest_point(concavity), prosthion=points[4])


def _mandible(rng: np.random.Generator, rotation: float) -> _Mandible:
    chin, depth, height = spread(rng, 2.0), 4.5 * (1 + spread(rng, 0.25)), 1 + spread(rng, 0.1)
    ramus = spread(rng, 3.0)
    body = [
        [-17.0, 17.0], [-12.0, 12.5], [-7.5, 16.0], [0.0, 27.0], [11.0, 21.0], [17.0, 35.0],
        [22.0, 56.0], [27.0, 69.0], [45.0, 75.0], [58.0, 77.0],
    ]  # fmt: skip
    front = [
        [63.5, 78.0],
        [62.8 - 0.8 * depth, 83.5],
        [62.8 - depth + 0.3 * chin, 89.0],
        [62.0 - 0.3 * depth + 0.7 * chin, 95.0],
        [62.8 + chin, 100.5],
        [59.5 + 0.8 * chin, 107.5],
        [52.0 + 0.4 * chin, 110.5],
        [45.0, 108.5],
    ]
    back = [[26.0, 100.0], [8.0, 93.0], [-6.0 + ramus, 83.0], [-14.0 + ramus, 66.0], [-15.0, 40.0]]
    points = np.array(body + front + back)
    below = np.maximum(points[:, 1] - 78, 0)
    points[:, 1] += np.where(points[:, 0] > 40, below * (height - 1), 0)
    points = turn_curve(points, _CONDYLE, rotation, (1 + spread(rng, 0.07), 1 + spread(rng, 0.06)))
    points += [spread(rng, 1.5), 0.0]
    steps = 40
    contour = smooth_curve(points, closed=True, steps=steps)
    first, last = len(body) * steps, (len(body) + len(front) - 1) * steps
    symphysis = contour[first : last + 1]
    lowest = int(np.argmax(symphysis[:, 1]))
    # Without a chin the ridge may be the most anterior point: look below the concavity only.
    anterior = 2 * steps + int(np.argmax(symphysis[2 * steps :, 0]))
    return _Mandible(
        contour=contour,
        back=contour[last + steps :: 5],
        crest=contour[7 * steps : first + 1],
        b_point=deepest_point(symphysis[: anterior + 1]),
        pogonion=symphysis[anterior],
        menton=symphysis[lowest],
        gnathion=halfway_point(symphysis[anterior : lowest + 1]),
    )


def _cranium(rng: np.random.Generator, nasion: Curve) -> tuple[Part, ...]:
    length, height = 1 + spread(rng, 0.08), 1 + spread(rng, 0.08)
    x, y = nasion
    brow = spread(rng, 1.5)
    frontal = np.array([[x, y], [x + 3.2 + brow, y - 7], [x + 4 + brow, y - 14], [x + 1, y - 32]])
    vault = [
        [50.0, -75.0], [15.0, -97.0], [-30.0, -100.0], [-75.0, -78.0], [-100.0, -35.0],
        [-97.0, 0.0], [-75.0, 25.0], [-45.0, 38.0], [-25.0, 40.0],
    ]  # fmt: skip
    outer = smooth_curve(np.concatenate([frontal, np.array(vault) * [length, height]]), steps=10)
    center = np.array([-15.0, -32.0])
    thickness = 5.5 * (1 + spread(rng, 0.25))
    direction = outer - center
    inner = outer - thickness * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    floor = np.array([[-12.0, 8.0], [30.0, -2.0], [x - 9, y]])
    ring = np.concatenate([outer, inner[::-1]])
    sinus = ellipse((x - 2.5, y - 10), (2.6 + spread(rng, 0.8), 6 + spread(rng, 2)), 24)
    return (
        Part((np.concatenate([inner, floor]),), 0.45, soft=True),
        Part((ring,), 0.42),
        Part((outer,), 0.28, width_mm=1.4),
        Part((inner[10:],), 0.20, width_mm=1.0),
        Part((sinus,), -0.35),
    )


def _base(rng: np.random.Generator, nasion: Curve, radius: float) -> tuple[Part, ...]:
    x, y = nasion
    # The cup: from its front lip, round the floor, to the dorsum; its centre is the sella.
    angle = np.linspace(np.radians(-25 + spread(rng, 8)), np.radians(205 + spread(rng, 8)), 48)
    cup = np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius
    front = smooth_curve(
        np.array([[x - 8, y + 3], [48.0, -2.0 + y * 0.3], [24.0, -3.0 + spread(rng, 1.5)], cup[0]])
    )
    dorsum = beside(cup[-1], -2.5, -1.5)
    clivus = smooth_curve(np.array([dorsum, [-13.0, 12.0], [-21.0, 27.0], [-27.0, 41.0]]))
    under = smooth_curve(
        np.array([[-20.0, 41.0], [-6.0, 26.0], [3.0, 17.0], [20.0, 10.0], [x - 12, y + 11]])
    )
    body = np.concatenate([front, cup, clivus, under])
    line = np.concatenate([front, cup, clivus])
    return (
        Part((body,), 0.38),
        Part((line,), 0.42, width_mm=1.3),
        Part((under,), 0.18, width_mm=1.0),
        Part((ellipse((6.0, 10.5), (8.0, 3.8), 24),), -0.22, soft=True),
        Part((ellipse((-30.0, 16.0), (14.0, 12.0), 32),), 0.45, soft=True),  # petrous bone
        Part((ellipse((-24.0, 19.0), (3.0, 3.4), 24),), -0.25),
    )


def _midface(rng: np.random.Generator, nasion: Curve, maxilla: _Maxilla) -> tuple[Part, ...]:
    x, y = nasion
    tip = beside(nasion, 10 + spread(rng, 2), 21 + spread(rng, 2.5))
    nasal = np.array([[x, y], [x + 2.8, y + 7], [x + 6, y + 15], tip, tip - [3, 1], [x - 3, y + 8]])
    nasal = np.concatenate([smooth_curve(nasal[:4]), nasal[4:], [[x - 5, y + 1]]])
    suture = np.array([[x, y], [x - 5.5, y + 1.0]])
    orbit = np.array([[x - 8, y + 7], [x - 17, y + 18], [x - 20, y + 28], [x - 12, y + 32]])
    ax, ay = maxilla.a_point
    wall = np.array([[x - 12, y + 10], [x - 6, y + 32], [ax - 8, ay - 8], [25, ay - 7], [24, 12]])
    return (
        Part((nasal,), 0.48),
        Part((nasal[:37],), 0.25, width_mm=1.0),
        Part((suture,), -0.45, width_mm=0.9),
        Part((wall,), 0.26, soft=True),
        Part((ellipse((0.5 * x + 8, y + 38), (13.0, 11.0)),), -0.24, soft=True),
        Part((ellipse((x - 24, y + 19), (15.0, 12.0)),), -0.14, soft=True),
        Part((smooth_curve(orbit),), 0.30, width_mm=1.5),
        Part((maxilla.contour,), 0.40),
        Part((outline_curve(maxilla.contour),), 0.30, width_mm=1.2),
    )


def _teeth(rng: np.random.Generator, maxilla: _Maxilla, mandible: _Mandible) -> tuple[Part, ...]:
    parts = []
    upper, lower = maxilla.prosthion, mandible.crest[-1]
    tilt = np.radians(22 + spread(rng, 8))
    parts.append(_tooth(beside(upper, -4.0, 1.0), tilt, down=True, size=(7.0, 12.0)))
    parts.append(
        _tooth(beside(lower, -4.0, 0.5), np.radians(18 + spread(rng, 8)), False, (5.5, 9.5))
    )
    for fraction in (0.12, 0.34, 0.54, 0.72):
        top = np.array([upper[0] - 46 + 50 * fraction * 0.9, upper[1] + 3.0])
        parts.append(_tooth(top, spread(rng, 0.1), down=True, size=(8.5, 7.0)))
        bottom = mandible.crest[int(fraction * (len(mandible.crest) - 1))]
        parts.append(_tooth(bottom, spread(rng, 0.1), down=False, size=(8.5, 7.5)))
    if rng.random() < 0.35:  # fillings and brackets: metal
        for part in rng.choice(len(parts), 2, replace=False):
            middle = parts[part].curves[0].mean(axis=0)
            parts.append(Part((ellipse(tuple(middle), (2.2, 1.6), 12),), 1.6))
    return tuple(parts)


def _tooth(neck: Curve, tilt: float, down: bool, size: tuple[float, float]) -> Part:
    width, crown = size
    half = width / 2
    outline = np.array(
        [[-half, 0], [-0.95 * half, crown], [0.6 * half, crown], [half, 0], [0.3 * half, -12],
         [-0.3 * half, -12]]
    )  # fmt: skip
    if not down:
        outline = outline * [1, -1]
        tilt = -tilt
    return Part((turn_curve(outline, np.zeros(2), tilt, (1.0, 1.0)) + neck,), 0.42)


def _vertebrae(rng: np.random.Generator) -> tuple[Part, ...]:
    lean, parts = spread(rng, 0.15), []
    for index in range(5):
        center = np.array([-31.0 - 19 * index * (lean + 0.08 * index), 52.0 + 19 * index])
        box = np.array([[-9, -7], [0, -6], [9, -6.5], [8, 0], [9, 7], [0, 6], [-9, 6.5], [-8, 0]])
        body = smooth_curve(turn_curve(box, np.zeros(2), -lean, (1.0, 1.0)), closed=True, steps=5)
        parts.append(Part((body + center,), 0.32))
        parts.append(Part((body[[*range(len(body)), 0]] + center,), 0.16, width_mm=1.0))
        spine = ellipse((center[0] - 24, center[1] + 4), (11.0, 4.5), 20)
        parts.append(Part((spine,), 0.22, soft=True))
    return tuple(parts)


def _soft_tissue(
    rng: np.random.Generator, nasion: Curve, maxilla: _Maxilla, mandible: _Mandible
) -> tuple[Part, ...]:
    lips, nose = 1 + spread(rng, 0.2), 1 + spread(rng, 0.15)
    a, b, pog, menton = maxilla.a_point, mandible.b_point, mandible.pogonion, mandible.menton
    upper, lower = maxilla.prosthion, mandible.crest[-1]
    profile = [
        [30.0, -100.0], beside(nasion, 0, -45), beside(nasion, 9, -20), beside(nasion, 8.5, -8),
        beside(nasion, 6.5, 2), beside(nasion, 15 * nose, 20), [nasion[0] + 30 * nose, a[1] - 13],
        [nasion[0] + 27 * nose, a[1] - 7], beside(a, 14 * lips, -1), beside(upper, 15 * lips, 4),
        beside((upper + lower) / 2, 10 * lips, 3), beside(lower, 15 * lips, 0),
        beside(b, 11 * lips, 0), beside(pog, 11, 1), beside(menton, 7, 9), beside(menton, -18, 8),
        [18.0, menton[1] + 8], [8.0, menton[1] + 35], [10.0, 220.0],
    ]  # fmt: skip
    back = [[-85.0, 220.0], [-82.0, 110.0], [-85.0, 60.0], [-102.0, 20.0], [-108.0, -40.0]]
    crown = [[-80.0, -88.0], [-30.0, -108.0], [10.0, -107.0]]
    outline = smooth_curve(np.array([*profile, *back, *crown]), closed=True, steps=6)
    airway = np.array(
        [[8, 40], [2, 60], [6, 90], [4, 130], [4, 200], [-10, 200], [-10, 130], [-9, 80], [-10, 48]]
    )
    return (
        Part((outline,), 0.40),
        Part((smooth_curve(airway, closed=True, steps=5),), -0.22, soft=True),
        Part((ellipse((34.0, 78.0), (24.0, 15.0)),), 0.12, soft=True),  # tongue
    )
