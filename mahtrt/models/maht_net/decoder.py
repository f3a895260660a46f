"""Attention-gated decoder over a fused feature pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mahtrt.models.layers import conv_bn_relu, upsample_to


class MultiScaleFusion(nn.Module):
    """Feature pyramid: 1x1 laterals, a top-down sum, one 3x3 convolution per level.

    The deepest level feeds the sum but has no output convolution, since the decoder starts from
    the transformer there.
    """

    def __init__(self, encoder_dims: Sequence[int], dim: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(channels, dim, 1) for channels in encoder_dims)
        self.outputs = nn.ModuleList(conv_bn_relu(dim, dim) for _ in encoder_dims[:-1])

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Five encoder levels to four fused levels (B, dim, …) of strides 2, 4, 8 and 16."""
        laterals = [lateral(f) for lateral, f in zip(self.laterals, features, strict=True)]
        fused = [laterals[-1]]
        for lateral in reversed(laterals[:-1]):
            fused.insert(0, lateral + upsample_to(fused[0], lateral.shape[2:]))
        return [output(level) for output, level in zip(self.outputs, fused[:-1], strict=True)]


class AttentionGate(nn.Module):
    """Additive attention gate on a skip connection (Oktay et al. 2018)."""

    def __init__(self, gate_channels: int, feature_channels: int) -> None:
        super().__init__()
        inner = feature_channels // 2
        self.gate = nn.Sequential(nn.Conv2d(gate_channels, inner, 1), nn.BatchNorm2d(inner))
        self.feature = nn.Sequential(nn.Conv2d(feature_channels, inner, 1), nn.BatchNorm2d(inner))
        self.psi = nn.Sequential(nn.Conv2d(inner, 1, 1), nn.BatchNorm2d(1), nn.Sigmoid())

    def forward(self, gate: Tensor, features: Tensor) -> Tensor:
        """Gate (B, Cg, H, W) and features (B, Cf, H, W) to weighted features (B, Cf, H, W)."""
        weights: Tensor = self.psi(F.relu(self.gate(gate) + self.feature(features)))
        return features * weights


class DecoderBlock(nn.Module):
    """Two 3x3 convolutions beside a 1x1 residual."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = conv_bn_relu(in_channels, out_channels)
        self.conv2 = conv_bn_relu(out_channels, out_channels)
        same = in_channels == out_channels
        self.residual = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        refined: Tensor = self.conv2(self.conv1(x))
        residual: Tensor = self.residual(x)
        return refined + residual


class AttentionGatedDecoder(nn.Module):
    """Four steps from stride 32 to stride 2, each with a gated skip connection.

    Args:
        encoder_dims: Channels of the five encoder levels.
        decoder_dims: Channels of the fused pyramid, then of each block.
    """

    def __init__(self, encoder_dims: Sequence[int], decoder_dims: Sequence[int]) -> None:
        super().__init__()
        skip = decoder_dims[0]
        # The transformer gives the encoder's channels; the blocks count on decoder_dims[0].
        self.bridge = nn.Conv2d(encoder_dims[-1], skip, 1)
        self.fusion = MultiScaleFusion(encoder_dims, skip)
        self.gates = nn.ModuleList(AttentionGate(dim, skip) for dim in decoder_dims[:-1])
        self.blocks = nn.ModuleList(
            DecoderBlock(before + skip, after) for before, after in pairwise(decoder_dims)
        )

    def forward(self, features: Sequence[Tensor], bottleneck: Tensor) -> Tensor:
        """Encoder levels and the bottleneck (B, C, h, w) to (B, decoder_dims[-1], H/2, W/2)."""
        skips = self.fusion(features)
        x: Tensor = self.bridge(bottleneck)
        for block, gate, skip in zip(self.blocks, self.gates, reversed(skips), strict=True):
            x = upsample_to(x, skip.shape[2:])
            x = block(torch.cat([x, gate(x, skip)], dim=1))
        return x
