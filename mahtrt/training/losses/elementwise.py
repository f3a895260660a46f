"""Losses of probabilities and heatmaps, element by element, without reduction."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

FOCUS = 2.0
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


def absolute(value: Tensor, target: Tensor) -> Tensor:
    return (value.float() - target).abs()
