"""What the one-image networks end in: logits of findings, and a judgement of patches."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from mahtrt.models.longitudinal.blocks import conv_norm_act, group_norm


class FindingsHead(nn.Module):
    """A 3x3 convolution, the mean over the image, dropout, one logit per label.

    Args:
        in_channels: Channels of the features.
        num_labels: Logits to give.
        dropout: Before the logits, while training.
    """

    def __init__(self, in_channels: int, num_labels: int, dropout: float) -> None:
        super().__init__()
        self.reduce = conv_norm_act(in_channels, in_channels // 2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.logits = nn.Linear(in_channels // 2, num_labels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to logits (B, L)."""
        pooled = self.pool(self.reduce(x)).flatten(1)
        logits: Tensor = self.logits(self.dropout(pooled))
        return logits


class PatchDiscriminator(nn.Module):
    """PatchGAN (Isola et al. 2017): for every patch, how much it looks like a true map.

    Three 4x4 convolutions of stride 2 and two 3x3 ones: a cell of the map judges 54x54 pixels,
    and cells are eight pixels apart, over the whole of the image. (The paper's unpadded 4x4 ones
    of stride 1 would leave a border unjudged, and the map would not lie on the image.)

    Args:
        channels: Channels of the four convolutions before the last.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        strided: list[nn.Module] = []
        for before, after in pairwise((1, *channels[:-1])):
            strided.append(nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False))
            strided += [group_norm(after), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*strided)
        self.refine = conv_norm_act(channels[-2], channels[-1])
        self.map = nn.Conv2d(channels[-1], 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, H, W) to logits (B, 1, H/8, W/8)."""
        logits: Tensor = self.map(self.refine(self.body(x)))
        return logits
