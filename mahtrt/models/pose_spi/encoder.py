"""From the image to a feature vector, and from that to a feature map."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mahtrt.models.layers import conv_bn_relu
from mahtrt.models.pose_spi.config import POOL, PoseSpiConfig

START = 4  # cells on a side of the smallest feature map
DOUBLINGS = 4
MAP_SIZE = START * 2**DOUBLINGS  # cells on a side of the feature map
MAPPING_LAYERS = 3


class Encoder(nn.Module):
    """Scale the image once per channel, max pool, two linear layers.

    The text this network follows multiplies the image by weights of shape (64, 1, 1, 1), which
    does not broadcast over a batch; it means a 1x1 convolution without bias.

    Args:
        config: Sizes.
    """

    def __init__(self, config: PoseSpiConfig) -> None:
        super().__init__()
        self.scale = nn.Conv2d(1, config.channels, 1, bias=False)
        self.hidden = nn.Linear(config.pooled_size, config.hidden_dim)
        self.features = nn.Linear(config.hidden_dim, config.feature_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, H, W) to (B, feature_dim)."""
        x = F.max_pool2d(self.scale(x), POOL).flatten(1)  # (B, channels * H/2 * W/2)
        features: Tensor = self.features(F.relu(self.hidden(x)))
        return features


class Upsampling(nn.Module):
    """A feature vector to a feature map: a linear layer, mapping convolutions, four doublings.

    The text calls it FSRCNN, after Dong et al. (ECCV 2016), with which it shares the order of
    feature extraction, mapping and enlargement. Of its two listings, this is the detailed one.

    Args:
        config: Sizes.
    """

    def __init__(self, config: PoseSpiConfig) -> None:
        super().__init__()
        channels = config.channels
        self.expand = nn.Linear(config.feature_dim, channels * START * START)
        self.extract = conv_bn_relu(channels, channels)
        self.mapping = nn.ModuleList(
            conv_bn_relu(channels, channels) for _ in range(MAPPING_LAYERS)
        )
        self.enlarge = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1) for _ in range(DOUBLINGS)
        )
        self.combine = nn.Conv2d(channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, feature_dim) to (B, channels, 64, 64)."""
        x = self.extract(self.expand(features).unflatten(1, (-1, START, START)))
        for layer in self.mapping:
            x = layer(x)
        for layer in self.enlarge:
            x = layer(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))
        combined: Tensor = self.combine(x)
        return combined
