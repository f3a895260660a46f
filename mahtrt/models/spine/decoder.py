"""From tokens or queries to heatmaps of the input's size, with skips from the encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mahtrt.models.layers import conv_bn_relu, upsample_to
from mahtrt.models.spine.config import SpineConfig


class QueriesToMap(nn.Module):
    """One small map per query, then a 1x1 convolution over them.

    Args:
        config: Sizes.
    """

    def __init__(self, config: SpineConfig) -> None:
        super().__init__()
        self.grid = config.grid
        self.to_cells = nn.Linear(config.width, config.grid[0] * config.grid[1])
        self.to_channels = nn.Conv2d(len(config.landmarks), config.decoder_dims[0], 1)

    def forward(self, queries: Tensor) -> Tensor:
        """(B, K, C) to (B, decoder_dims[0], h, w) on the grid of the tokens."""
        found: Tensor = self.to_channels(self.to_cells(queries).unflatten(-1, self.grid))
        return found


class TokensToMap(nn.Module):
    """The tokens on their grid, in the channels that the decoder starts from.

    Args:
        config: Sizes.
    """

    def __init__(self, config: SpineConfig) -> None:
        super().__init__()
        self.grid = config.grid
        start = config.decoder_dims[0]
        same = config.width == start
        self.to_channels = nn.Identity() if same else nn.Conv2d(config.width, start, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, h * w, C) to (B, decoder_dims[0], h, w)."""
        found: Tensor = self.to_channels(tokens.transpose(1, 2).unflatten(-1, self.grid))
        return found


class DecoderStage(nn.Module):
    """Double the size, join a skip, two 3x3 convolutions."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = conv_bn_relu(in_channels + skip_channels, out_channels)
        self.conv2 = conv_bn_relu(out_channels, out_channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B, C, h, w) and the skip (B, Cs, 2h, 2w) to (B, out, 2h, 2w)."""
        joined = torch.cat([upsample_to(x, skip.shape[2:]), skip], dim=1)
        out: Tensor = self.conv2(self.conv1(joined))
        return out


class Decoder(nn.Module):
    """Four stages from stride 32 to stride 2, then the full size and one heatmap per landmark.

    Both of the first two stages have the features of stride 8 as their skip, the first of them
    made half as large. The head is linear: heatmaps are trained on Gaussians by their squares.

    Args:
        encoder_dims: Channels of the encoder's levels of strides 2, 4 and 8, at least.
        config: Sizes. Without queries there is no convolution at full size before the head.
    """

    def __init__(self, encoder_dims: Sequence[int], config: SpineConfig) -> None:
        super().__init__()
        self.input_size = config.input_size
        f1, f2, f3 = encoder_dims[:3]
        start, deep, middle, fine = config.decoder_dims
        self.stages = nn.ModuleList(
            DecoderStage(before, skip, after)
            for before, skip, after in (
                (start, f3, deep),
                (deep, f3, deep),
                (deep, f2, middle),
                (middle, f1, fine),
            )
        )
        has_refinement = config.decoder == "query"
        self.refine = conv_bn_relu(fine, fine) if has_refinement else nn.Identity()
        self.head = nn.Conv2d(fine, len(config.landmarks), 1)

    def forward(self, x: Tensor, features: Sequence[Tensor]) -> Tensor:
        """A map (B, C, h, w) on the tokens' grid, and the encoder's levels, to (B, K, H, W)."""
        f1, f2, f3 = features[:3]
        small = upsample_to(f3, [side // 2 for side in f3.shape[2:]])
        for stage, skip in zip(self.stages, (small, f3, f2, f1), strict=True):
            x = stage(x, skip)
        heatmaps: Tensor = self.head(self.refine(upsample_to(x, self.input_size)))
        return heatmaps
