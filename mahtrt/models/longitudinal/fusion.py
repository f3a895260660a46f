"""Difference fusion: the features of two visits become those of what changed between them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mahtrt.models.longitudinal.blocks import conv, group_norm


class DifferenceFusion(nn.Module):
    """Both visits' channels through three ways of compressing them by half, summed.

    The ways are the seed's: across channels alone (1x1, which it calls depthwise), 3x3, and a
    depthwise separable 7x7. Each is normalised before the sum, so that none drowns the others.

    Args:
        channels: Channels of each visit's features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        both = 2 * channels
        self.across = nn.Sequential(conv(both, channels, kernel=1), group_norm(channels))
        self.near = nn.Sequential(conv(both, channels, kernel=3), group_norm(channels))
        self.wide = nn.Sequential(
            conv(both, both, kernel=7, groups=both),
            group_norm(both),
            nn.ReLU(),
            conv(both, channels, kernel=1),
            group_norm(channels),
        )
        self.act = nn.SiLU()

    def forward(self, baseline: Tensor, followup: Tensor) -> Tensor:
        """Two times (B, C, h, w) to (B, C, h, w)."""
        both = torch.cat([baseline, followup], dim=1)
        fused: Tensor = self.act(self.across(both) + self.near(both) + self.wide(both))
        return fused
