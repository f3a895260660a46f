"""Heatmap head, with an auxiliary coordinate branch that only training uses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mahtrt.models.layers import conv_bn_relu

# Sigmoid of it is about 0.02: heatmaps start nearly empty, as their targets are.
INITIAL_BIAS = -4.0


class HeatmapHead(nn.Module):
    """Two 3x3 convolutions, then one 1x1 convolution per landmark.

    Args:
        in_channels: Channels from the decoder.
        head_dims: Channels of the two convolutions.
        num_landmarks: Heatmaps to give.
        heatmap_size: (height, width) of the heatmaps.
        dropout: In the auxiliary branch.
    """

    def __init__(
        self,
        in_channels: int,
        head_dims: tuple[int, int],
        num_landmarks: int,
        heatmap_size: tuple[int, int],
        dropout: float,
    ) -> None:
        super().__init__()
        self.heatmap_size = heatmap_size
        self.refine = nn.Sequential(
            conv_bn_relu(in_channels, head_dims[0]), conv_bn_relu(head_dims[0], head_dims[1])
        )
        self.heatmaps = nn.ModuleList(_one_map(head_dims[1]) for _ in range(num_landmarks))
        self.auxiliary = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(head_dims[1], 128),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(128, num_landmarks * 2),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """(B, C, H, W) to heatmaps (B, K, h, w) in [0, 1] and, in training, (B, K, 2) in [0, 1]."""
        features = self.refine(x)
        heatmaps = torch.cat([conv(features).sigmoid() for conv in self.heatmaps], dim=1)
        if tuple(heatmaps.shape[2:]) != self.heatmap_size:
            heatmaps = F.interpolate(
                heatmaps, size=self.heatmap_size, mode="bilinear", align_corners=False
            )
        auxiliary = self.auxiliary(features).unflatten(1, (-1, 2)) if self.training else None
        return heatmaps, auxiliary


def _one_map(channels: int) -> nn.Conv2d:
    """A 1x1 convolution to one heatmap that starts nearly empty."""
    conv = nn.Conv2d(channels, 1, 1)
    assert conv.bias is not None
    nn.init.constant_(conv.bias, INITIAL_BIAS)
    return conv
