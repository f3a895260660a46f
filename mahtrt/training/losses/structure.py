"""Structural similarity of maps, differentiable."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = 11
SIGMA = 1.5
_C1, _C2 = 0.01**2, 0.03**2


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Mean SSIM of each pair of maps, over all windows that lie within them.

    Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", 2004:
    Gaussian windows of 11x11 with a sigma of 1.5, constants (0.01, 0.03) of a range of 1. Smaller
    maps get smaller windows.

    Args:
        first, second: (B, C, H, W), values in [0, 1].

    Returns:
        (B, C), 1 for equal maps.
    """
    first, second = first.float(), second.float()
    side = min(WINDOW, *first.shape[-2:])
    window = _gaussian(side - (side + 1) % 2).to(first)

    def mean(values: Tensor) -> Tensor:
        planes = values.flatten(0, 1).unsqueeze(1)
        across = F.conv2d(planes, window.view(1, 1, 1, -1))
        return F.conv2d(across, window.view(1, 1, -1, 1))

    mean1, mean2 = mean(first), mean(second)
    variance1 = mean(first * first) - mean1 * mean1
    variance2 = mean(second * second) - mean2 * mean2
    covariance = mean(first * second) - mean1 * mean2
    luminance = (2 * mean1 * mean2 + _C1) / (mean1 * mean1 + mean2 * mean2 + _C1)
    structure = (2 * covariance + _C2) / (variance1 + variance2 + _C2)
    return (luminance * structure).mean((1, 2, 3)).view(first.shape[:2])


def _gaussian(side: int) -> Tensor:
    """Weights of an odd number of cells, which add up to 1."""
    cells = torch.arange(side) - side // 2
    weights = torch.exp(-(cells**2) / (2 * SIGMA**2))
    return weights / weights.sum()
