"""Layers that several families share."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
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


def sine_position_table(rows: int, columns: int, dim: int) -> Tensor:
    """2-D sine positions (1, rows * columns, dim).

    Channels are interleaved: sin y, cos y, sin x, cos x. Frequencies fall geometrically from 1 to
    1/10000 as in Vaswani et al. 2017, section 3.5, with half of the channels for each axis.
    """
    frequencies = torch.exp(torch.arange(0, dim // 2, 2) * (-math.log(10000.0) / (dim // 2)))
    y = torch.arange(rows).unsqueeze(1) * frequencies  # (rows, dim/4)
    x = torch.arange(columns).unsqueeze(1) * frequencies  # (columns, dim/4)
    table = torch.zeros(rows, columns, dim)
    table[:, :, 0::4] = y.sin().unsqueeze(1)
    table[:, :, 1::4] = y.cos().unsqueeze(1)
    table[:, :, 2::4] = x.sin().unsqueeze(0)
    table[:, :, 3::4] = x.cos().unsqueeze(0)
    return table.reshape(1, rows * columns, dim)
