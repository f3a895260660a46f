"""Losses of coordinates, on differences in heatmap cells, without reduction."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# 10 and 2 px of a 256 px input in the paper, whose cells are 4 px here.
WING_WIDTH = 2.5
WING_CURVATURE = 0.5


def smooth_l1(difference: Tensor) -> Tensor:
    """Half the square below 1 cell, the distance less 1/2 above."""
    return F.smooth_l1_loss(difference, torch.zeros_like(difference), reduction="none")


def l1(difference: Tensor) -> Tensor:
    return difference.abs()


def wing(
    difference: Tensor, width: float = WING_WIDTH, curvature: float = WING_CURVATURE
) -> Tensor:
    """Wing loss: a logarithm near zero, which makes small errors count more; linear beyond.

    ``width * ln(1 + |d| / curvature)`` below ``width``, ``|d| - c`` above, joined by c: equation 5
    of Feng et al., "Wing Loss for Robust Facial Landmark Localisation with Convolutional Neural
    Networks", CVPR 2018.
    """
    distance = difference.abs()
    joint = width - width * math.log1p(width / curvature)
    return torch.where(
        distance < width, width * torch.log1p(distance / curvature), distance - joint
    )
