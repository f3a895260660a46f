"""Heatmap targets, and the loss that compares a network's outputs with them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mahtrt.spec import ModelSpec

SIGMA_CELLS = 1.5
HEATMAP_WEIGHT = 0.02
COORDINATE_WEIGHT = 0.2
AUXILIARY_WEIGHT = 0.5


def gaussian_heatmaps(points: Tensor, size: tuple[int, int], sigma: float = SIGMA_CELLS) -> Tensor:
    """Targets with a peak of 1 at each point.

    Args:
        points: (B, K, 2) as x, y in heatmap cells.
        size: (height, width) of the heatmaps.
        sigma: In cells.

    Returns:
        (B, K, height, width); a map of zeros where the point is NaN.
    """
    rows = torch.arange(size[0], dtype=points.dtype)
    columns = torch.arange(size[1], dtype=points.dtype)
    x = torch.exp(-((columns - points[..., :1]) ** 2) / (2 * sigma**2))  # (B, K, width)
    y = torch.exp(-((rows - points[..., 1:]) ** 2) / (2 * sigma**2))  # (B, K, height)
    return (y.unsqueeze(-1) * x.unsqueeze(-2)).nan_to_num(0.0)


def landmark_loss(outputs: dict[str, Tensor], points: Tensor, spec: ModelSpec) -> Tensor:
    """Cross entropy of the heatmaps plus smooth L1 of the soft-argmax and auxiliary coordinates.

    Args:
        outputs: What the network gave in training mode: ``heatmaps`` in [0, 1], ``landmarks`` in
            network pixels, and ``auxiliary``, coordinates in [0, 1], where it has such a branch.
        points: (B, K, 2) in network pixels, NaN where there is no annotation.
        spec: The network's spec.
    """
    (height, width), heatmap_size = spec.input.size, spec.decode.heatmap_size
    assert heatmap_size is not None
    scale = torch.tensor([heatmap_size[1] / width, heatmap_size[0] / height])
    cells = (points + 0.5) * scale - 0.5
    known = points.isfinite().all(-1)  # (B, K)
    count = known.sum().clamp(min=1)

    predicted = outputs["heatmaps"].float().clamp(1e-6, 1 - 1e-6)
    entropy = F.binary_cross_entropy(
        predicted, gaussian_heatmaps(cells, heatmap_size), reduction="none"
    )
    heatmap = (entropy.sum((2, 3)) * known).sum() / count

    error = (outputs["landmarks"].float() - points).nan_to_num(0.0) * scale
    coordinate = (
        F.smooth_l1_loss(error, torch.zeros_like(error), reduction="none").sum(-1)
    ).sum() / count

    total = HEATMAP_WEIGHT * heatmap + COORDINATE_WEIGHT * coordinate
    if "auxiliary" in outputs:
        normalised = (points + 0.5) / torch.tensor([width, height])
        off = (outputs["auxiliary"].float() - normalised).nan_to_num(0.0)
        total = total + AUXILIARY_WEIGHT * (off.abs().sum() / count)
    return total
