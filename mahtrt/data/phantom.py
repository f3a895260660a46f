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

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.phantom_anatomy import PHANTOM_LANDMARKS, draw_anatomy
from mahtrt.data.phantom_curves import Curve, Part
from mahtrt.data.phantom_film import Pose, add_part, attenuate, expose
from mahtrt.data.sample import Sample
from mahtrt.data.synthetic import SyntheticDataset
from mahtrt.errors import DataError

__all__ = ["PHANTOM_LANDMARKS", "PhantomDataset", "make_phantom"]

_MARGIN_MM = 9.0  # of every landmark to the border of the image


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
    attenuation = attenuate(rng, anatomy.parts, pose, (height, width))
    _add_equipment(attenuation, rng, pose)
    image = expose(attenuation, rng)
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
) -> Pose:
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
    return Pose(matrix, offset, px_per_mm=float(scale))


def _add_equipment(attenuation: NDArray[np.float32], rng: np.random.Generator, pose: Pose) -> None:
    """Ear rod rings and the nasal rest's ruler, where the draw has them."""
    scale = pose.px_per_mm
    if rng.random() < 0.5:
        center = pose(np.array([[-25.0, 19.0]]) + rng.uniform(-1, 1, 2))[0]
        for radius in (4.5, 1.2):
            angle = np.linspace(0, 2 * np.pi, 40)
            ring = center + radius * scale * np.stack([np.cos(angle), np.sin(angle)], axis=1)
            add_part(attenuation, [ring], Part((), 1.1, width_mm=1.0), scale)
    if rng.random() < 0.4:
        x = attenuation.shape[1] - rng.uniform(6, 14) * scale
        top = rng.uniform(20, 50) * scale
        for tick in range(10):
            y = top + 10 * tick * scale
            line = np.array([[x - (4 if tick % 5 else 7) * scale, y], [x, y]])
            add_part(attenuation, [line], Part((), 0.9, width_mm=0.7), scale)
        line = np.array([[x, top], [x, top + 90 * scale]])
        add_part(attenuation, [line], Part((), 0.9, width_mm=0.7), scale)
