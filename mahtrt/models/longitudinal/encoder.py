"""The encoder: channel expansion, then eight blocks chosen out of EfficientNet-B7.

EfficientNet-B7 has 55 blocks: 4, 7, 7, 10, 10, 13 and 4 in its seven stages (Tan and Le 2019,
width 2.0 and depth 3.1 times B0). The seed's 0, 4, 11, 18, 28, 38 and 51 are the first block of
each stage and 52 is the second of the last, so they chain as they are: every one takes the channels
that the one before it gives, four of them have stride 2, and 512x512 becomes 640x32x32. Block 0
takes the 64 channels of B7's stem, whose place the expansion has taken.

The seed names the expansion both 1 -> 64 -> 512 and "exp=8, exp2=8" from one channel, which is
1 -> 8 -> 64. It is 1 -> 8 -> 64 here: that is what block 0 takes; 512 channels at full resolution
would cost 155 GFLOP and half a gigabyte an image before the first block.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from timm.models._efficientnet_blocks import DepthwiseSeparableConv, InvertedResidual, SqueezeExcite
from torch import Tensor, nn

from mahtrt.models.longitudinal.blocks import conv_norm_act
from mahtrt.models.longitudinal.config import LongitudinalConfig


class _Shape(NamedTuple):
    kernel: int
    stride: int
    expansion: int


# Blocks 0, 4, 11, 18, 28, 38, 51 and 52 of EfficientNet-B7.
_BLOCKS = (
    _Shape(3, 1, 1),
    _Shape(3, 2, 6),
    _Shape(5, 2, 6),
    _Shape(3, 2, 6),
    _Shape(5, 1, 6),
    _Shape(5, 2, 6),
    _Shape(3, 1, 6),
    _Shape(3, 1, 6),
)
# Blocks whose outputs are skips, shallow to deep: the last ones at strides 1, 2, 4 and 8.
SKIPS = (0, 1, 2, 4)


class Encoder(nn.Module):
    """An image to its features at stride 16 and the skips on the way.

    Args:
        config: Its channels.
    """

    def __init__(self, config: LongitudinalConfig) -> None:
        super().__init__()
        narrow, wide = config.stem_channels
        self.expansion = nn.Sequential(
            conv_norm_act(1, narrow, kernel=7), conv_norm_act(narrow, wide, kernel=3)
        )
        before = (wide, *config.block_channels[:-1])
        self.blocks = nn.ModuleList(
            _block(shape, channels_in, channels_out)
            for shape, channels_in, channels_out in zip(
                _BLOCKS, before, config.block_channels, strict=True
            )
        )
        self.act = nn.SiLU()
        self.skip_channels = tuple(config.block_channels[index] for index in SKIPS)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(B, 1, H, W) to (B, C, H/16, W/16) and four skips of strides 1, 2, 4 and 8."""
        x = self.expansion(x)
        skips = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in SKIPS:
                skips.append(x)
        return self.act(x), skips


def _block(shape: _Shape, in_channels: int, out_channels: int) -> nn.Module:
    """One block as timm builds EfficientNets: its gate has a quarter of the block's channels."""
    gate = partial(SqueezeExcite, rd_ratio=0.25 / shape.expansion)
    if shape.expansion == 1:
        plain: nn.Module = DepthwiseSeparableConv(
            in_channels, out_channels, shape.kernel, act_layer=nn.SiLU, se_layer=gate
        )
        return plain
    block: nn.Module = InvertedResidual(
        in_channels,
        out_channels,
        shape.kernel,
        shape.stride,
        exp_ratio=shape.expansion,
        act_layer=nn.SiLU,
        se_layer=gate,
    )
    return block
