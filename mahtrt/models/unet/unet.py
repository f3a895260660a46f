"""U-Net: four halvings, a bottleneck, four doublings with skips, heatmaps of the input's size.

After Ronneberger et al., "U-Net" (MICCAI 2015), with padded convolutions, batch norms, and bilinear
enlargement in place of transposed convolutions. Landmarks are read from the heatmaps as MAHT-Net
reads them, so that the two can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mahtrt.models.demo_recipe import DemoRecipe
from mahtrt.models.heatmaps import HEATMAP_OUTPUTS, heatmap_outputs
from mahtrt.models.layers import conv_bn_relu, upsample_to
from mahtrt.models.network import Network
from mahtrt.models.soft_argmax import SoftArgmax2d
from mahtrt.models.unet.config import VARIANTS, UNetConfig, variant_config
from mahtrt.spec import DecodeSpec, InputSpec, ModelSpec, QuantizeSpec

FAMILY = "unet"
DEFAULT_VARIANT = "base"
EXAMPLE_DATA = "phantom"
DEMO = DemoRecipe(steps=300, batch_size=8, learning_rate=2e-3)
FREE_SETTINGS = ("input_size", "landmarks", "temperature", "mean", "std")

# Sigmoid of it is 0.0025: heatmaps start nearly empty, as their targets are.
INITIAL_BIAS = -6.0


def double_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """Convolution, batch norm and ReLU, twice."""
    return nn.Sequential(
        conv_bn_relu(in_channels, out_channels), conv_bn_relu(out_channels, out_channels)
    )


class UNet(Network):
    """The whole network.

    Args:
        config: Its shape.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        self.spec = spec_from_config(config)
        channels = config.channels
        self.encoder = nn.ModuleList(
            double_conv(before, after) for before, after in pairwise((3, *channels[:-1]))
        )
        self.bottleneck = double_conv(channels[-2], channels[-1])
        skips = channels[3::-1]
        given = (*skips[1:], channels[0])  # each block's, as many as the level above has
        self.decoder = nn.ModuleList(
            double_conv(below + skip, out)
            for below, skip, out in zip((channels[-1], *given[:-1]), skips, given, strict=True)
        )
        self.head = nn.Conv2d(channels[0], len(config.landmarks), 1)
        assert self.head.bias is not None
        nn.init.constant_(self.head.bias, INITIAL_BIAS)
        size = config.input_size
        self.soft_argmax = SoftArgmax2d(config.temperature, size, size)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) to the spec's outputs.

        Returns:
            ``landmarks`` (B, K, 2) and ``spread`` (B, K) in network pixels, ``confidence`` (B, K),
            ``heatmaps`` (B, K, H, W) in [0, 1].
        """
        skips = []
        for block in self.encoder:
            skips.append(block(x))
            x = F.max_pool2d(skips[-1], 2)
        x = self.bottleneck(x)  # (B, C, H/16, W/16)
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            x = block(torch.cat([upsample_to(x, skip.shape[2:]), skip], dim=1))
        heatmaps = self.head(x).sigmoid()
        return heatmap_outputs(heatmaps, self.soft_argmax)


def spec_from_config(config: UNetConfig) -> ModelSpec:
    """The spec of the network that a config describes."""
    return ModelSpec(
        family=FAMILY,
        config=config.to_dict(),
        inputs=(InputSpec(size=config.input_size, mean=config.mean, std=config.std),),
        outputs=HEATMAP_OUTPUTS,
        landmarks=config.landmarks,
        decode=DecodeSpec("soft_argmax", config.temperature, config.input_size),
        quantize=QuantizeSpec(),  # nothing to leave out: docs/decisions.md, "INT8"
    )


def build(variant: str, overrides: Mapping[str, Any]) -> UNet:
    """A U-Net with random weights. See :func:`mahtrt.models.families.build_model`."""
    return UNet(variant_config(variant or DEFAULT_VARIANT, overrides))


def variants() -> tuple[str, ...]:
    return tuple(VARIANTS)
