"""Augmentation: one random similarity for everything of a case, and a random exposure per image.

Drawn by mahtrt, so that a resumed training draws the same again; applied by torchvision's
transforms, which move images, maps and points alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from mahtrt.training.cases import Batch, Targets

MAX_ROTATION_DEG = 15.0
SCALE_RANGE = (0.85, 1.15)
MAX_SHIFT = 0.06
GAIN_RANGE = (0.8, 1.25)
MAX_OFFSET = 0.3


@dataclass(frozen=True, slots=True)
class Similarity:
    """A turn and a scale about the centre, and a shift.

    Attributes:
        rotation_deg: Clockwise on the screen.
        shift: (x, y) in shares of the image's width and height.
    """

    rotation_deg: float
    scale: float
    shift: tuple[float, float]

    def of_image(self, image: Tensor) -> Tensor:
        """(C, H, W), moved; what comes in from outside is 0, the mean of a normalised image."""
        bilinear = InterpolationMode.BILINEAR
        moved: Tensor = transforms.affine(
            image, **self._settings(image), interpolation=bilinear, fill=[0.0]
        )
        return moved

    def of_points(self, points_px: Tensor, image: Tensor) -> Tensor:
        """(K, 2) in pixels of the image, moved; NaN where they leave it."""
        height, width = image.shape[-2:]
        # torchvision counts from the corner of the first pixel, mahtrt from its centre.
        corners = tv_tensors.KeyPoints(points_px + 0.5, canvas_size=(height, width))
        moved = transforms.affine(corners, **self._settings(image)).as_subclass(Tensor) - 0.5
        most = torch.tensor([width - 1, height - 1])
        outside = ((moved < 0) | (moved > most)).any(-1, keepdim=True)
        return torch.where(outside, torch.nan, moved)

    def _settings(self, image: Tensor) -> dict[str, Any]:
        height, width = image.shape[-2:]
        return {
            "angle": self.rotation_deg,
            "translate": [self.shift[0] * width, self.shift[1] * height],
            "scale": self.scale,
            "shear": [0.0, 0.0],
        }


def augment(case: Batch, rng: np.random.Generator) -> Batch:
    """One random similarity transform about the centre, and a random gain and offset per image.

    Args:
        case: A single case: images (C, H, W), normalised.
        rng: Where the randomness comes from.

    Returns:
        The same, transformed. A point that left the image is NaN, and not visible where its
        visibility is known.
    """
    move = Similarity(
        rng.uniform(-MAX_ROTATION_DEG, MAX_ROTATION_DEG),
        rng.uniform(*SCALE_RANGE),
        (rng.uniform(-MAX_SHIFT, MAX_SHIFT), rng.uniform(-MAX_SHIFT, MAX_SHIFT)),
    )
    images = tuple(_exposed(move.of_image(image), rng) for image in case.images)
    old, first = case.targets, case.images[0]
    points = move.of_points(old.points, first)
    left = points.isnan().any(-1) & old.points.isfinite().all(-1)
    visible = torch.where(left & old.visible.isfinite(), 0.0, old.visible)
    target_map = None if old.target_map is None else move.of_image(old.target_map)
    return Batch(images, Targets(points, visible, target_map, old.labels))


def _exposed(image: Tensor, rng: np.random.Generator) -> Tensor:
    return image * rng.uniform(*GAIN_RANGE) + rng.uniform(-MAX_OFFSET, MAX_OFFSET)
