"""Losses of probabilities and heatmaps, element by element, without reduction."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

FOCUS = 2.0
FOREGROUND = 50.0
_EDGE = 1e-6  # probabilities are kept off 0 and 1, where the entropy is infinite


def cross_entropy(probability: Tensor, target: Tensor) -> Tensor:
    """Binary cross entropy, of targets that may lie between 0 and 1.

    Means over a map's ones may exceed 1 by rounding, which PyTorch refuses.
    """
    p = probability.float().clamp(_EDGE, 1 - _EDGE)
    return F.binary_cross_entropy(p, target.clamp(0, 1), reduction="none")


def focal(probability: Tensor, target: Tensor, focus: float = FOCUS) -> Tensor:
    """Cross entropy, weighted by how far off the prediction is: easy cells count less.

    ``|target - p| ** focus * BCE(p, target)``. For targets of 0 and 1 it is the focal loss of Lin
    et al. ("Focal Loss for Dense Object Detection", ICCV 2017) without its class weight; for
    targets between, the quality focal loss of Li et al. ("Generalized Focal Loss", NeurIPS 2020).
    """
    p = probability.float().clamp(_EDGE, 1 - _EDGE)
    return (target - p).abs() ** focus * cross_entropy(p, target)


def squared(value: Tensor, target: Tensor) -> Tensor:
    """Squared difference: the heatmap loss of maps that are no probabilities."""
    return (value.float() - target) ** 2


def weighted_squares(value: Tensor, target: Tensor, foreground: float = FOREGROUND) -> Tensor:
    """Squared difference, of which a cell counts the more, the higher its target.

    A Gaussian fills a few cells in a thousand, and by plain squares a map of zeros is so near it
    that training stays there. Cells of the peak weigh more, as in the weighted loss map of Wang et
    al. ("Adaptive Wing Loss for Robust Face Alignment via Heatmap Regression", ICCV 2019), but by
    the target and not by a mask. The minimum is the target itself all the same.

    Args:
        foreground: Weight of a cell whose target is 1, beyond that of a cell of 0.
    """
    return (1 + foreground * target) * squared(value, target)


def absolute(value: Tensor, target: Tensor) -> Tensor:
    return (value.float() - target).abs()
