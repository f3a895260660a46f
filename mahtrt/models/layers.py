"""Layers that several families share."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


def conv_bn_relu(in_channels: int, out_channels: int) -> nn.Sequential:
    """A 3x3 convolution that keeps the size, batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def upsample_to(x: Tensor, size: Sequence[int]) -> Tensor:
    """(B, C, h, w) to (B, C, *size), bilinear."""
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)
