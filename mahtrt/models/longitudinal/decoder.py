"""Decoders: features at stride 16 to a map over the whole image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mahtrt.models.longitudinal.blocks import conv, conv_norm_act, group_norm, up

# Sigmoid of it is about 0.02: a map of changes starts nearly empty, as its targets are.
INITIAL_BIAS = -4.0


class _Step(nn.Module):
    """Twice the resolution, then a 3x3 convolution over it and a skip."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.up = up(in_channels, out_channels)
        self.merge = nn.Sequential(
            conv(out_channels + skip_channels, out_channels), group_norm(out_channels), nn.ReLU()
        )

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        x = self.up(x)
        merged: Tensor = self.merge(x if skip is None else torch.cat([x, skip], dim=1))
        return merged


class UNetDecoder(nn.Module):
    """Four steps to full resolution, then a 1x1 convolution to the map.

    Args:
        in_channels: Channels of the features.
        channels: Channels of the four steps.
        skip_channels: Channels of the skips at strides 1, 2, 4 and 8; none where there are none.
    """

    def __init__(
        self, in_channels: int, channels: Sequence[int], skip_channels: Sequence[int] = ()
    ) -> None:
        super().__init__()
        before = (in_channels, *channels[:-1])
        skips = tuple(reversed(skip_channels)) or (0,) * len(channels)
        self.steps = nn.ModuleList(map(_Step, before, skips, channels))
        self.map = nn.Conv2d(channels[-1], 1, 1)

    def forward(self, x: Tensor, skips: Sequence[Tensor] = ()) -> Tensor:
        """(B, C, H/16, W/16) and skips of strides 1, 2, 4, 8 to logits (B, 1, H, W)."""
        for index, step in enumerate(self.steps):
            x = step(x, skips[-1 - index] if skips else None)
        logits: Tensor = self.map(x)
        return logits


class LightDecoder(nn.Module):
    """Two 3x3 convolutions between enlargements by four: the smaller model's way to a map.

    Args:
        in_channels: Channels of the features.
        channels: Channels of the two convolutions.
    """

    def __init__(self, in_channels: int, channels: tuple[int, int]) -> None:
        super().__init__()
        self.first = conv_norm_act(in_channels, channels[0])
        self.second = conv_norm_act(channels[0], channels[1])
        self.map = nn.Conv2d(channels[1], 1, 1)

    def forward(self, x: Tensor, skips: Sequence[Tensor] = ()) -> Tensor:
        """(B, C, H/16, W/16) to logits (B, 1, H, W); skips are not used."""
        x = self.second(_enlarge(self.first(x)))
        return _enlarge(self.map(x))


def _enlarge(x: Tensor) -> Tensor:
    height, width = x.shape[2] * 4, x.shape[3] * 4
    return F.interpolate(x, (height, width), mode="bilinear", align_corners=False)
