"""Layers that every part of the longitudinal networks is made of, and how they are initialised."""

from __future__ import annotations

import math

from torch import Tensor, nn

GROUPS = 32  # of a group normalisation
INIT_STD = 0.02  # of tokens' weights and of positions


def group_norm(channels: int) -> nn.GroupNorm:
    """Group normalisation in 32 groups, or in as many of them as divide the channels.

    The seed asks for 32 groups everywhere, which 80, 40 and 8 channels cannot be split into.
    """
    return nn.GroupNorm(math.gcd(channels, GROUPS), channels)


def conv(in_channels: int, out_channels: int, kernel: int = 3, groups: int = 1) -> nn.Conv2d:
    """A convolution that keeps the resolution, before a normalisation (so without bias)."""
    return nn.Conv2d(
        in_channels, out_channels, kernel, padding=kernel // 2, groups=groups, bias=False
    )


def conv_norm_act(in_channels: int, out_channels: int, kernel: int = 3) -> nn.Sequential:
    """Convolution, group normalisation, SiLU."""
    return nn.Sequential(
        conv(in_channels, out_channels, kernel), group_norm(out_channels), nn.SiLU()
    )


def down(in_channels: int, out_channels: int) -> nn.Sequential:
    """Half the resolution: a 2x2 convolution of stride 2, normalised."""
    sampling = nn.Conv2d(in_channels, out_channels, 2, stride=2, bias=False)
    return nn.Sequential(sampling, group_norm(out_channels), nn.ReLU())


def up(in_channels: int, out_channels: int) -> nn.Sequential:
    """Twice the resolution: a 2x2 transposed convolution of stride 2, normalised."""
    sampling = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2, bias=False)
    return nn.Sequential(sampling, group_norm(out_channels), nn.ReLU())


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(channels, channels),
            group_norm(channels),
            nn.ReLU(),
            conv(channels, channels),
            group_norm(channels),
        )
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to the same shape."""
        refined: Tensor = self.act(self.body(x) + x)
        return refined


def initialise(network: nn.Module) -> None:
    """Weights as the seed starts them, in place.

    Kaiming normal (fan in, ReLU) for convolutions, truncated normal of deviation 0.02 for the
    layers of tokens, ones and zeros for normalisations.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=INIT_STD)
        elif isinstance(module, (nn.GroupNorm, nn.BatchNorm2d, nn.LayerNorm)):
            nn.init.ones_(module.weight)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
