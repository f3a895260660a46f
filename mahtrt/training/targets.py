"""Heatmap targets."""

from __future__ import annotations

import torch
from torch import Tensor

SIGMA_CELLS = 1.5


def gaussian_heatmaps(points: Tensor, size: tuple[int, int], sigma: float = SIGMA_CELLS) -> Tensor:
    """Targets with a peak of 1 at each point.

    Args:
        points: (B, K, 2) as x, y in heatmap cells.
        size: (height, width) of the heatmaps.
        sigma: In cells.

    Returns:
        (B, K, height, width); a map of zeros where the point is NaN.
    """
    rows = torch.arange(size[0], dtype=points.dtype, device=points.device)
    columns = torch.arange(size[1], dtype=points.dtype, device=points.device)
    x = torch.exp(-((columns - points[..., :1]) ** 2) / (2 * sigma**2))  # (B, K, width)
    y = torch.exp(-((rows - points[..., 1:]) ** 2) / (2 * sigma**2))  # (B, K, height)
    return (y.unsqueeze(-1) * x.unsqueeze(-2)).nan_to_num(0.0)
