"""CNN encoders through timm: an image to five feature maps of strides 2, 4, 8, 16 and 32."""

from __future__ import annotations

import timm
from torch import Tensor, nn

STRIDES = (2, 4, 8, 16, 32)


class Encoder(nn.Module):
    """A timm backbone cut into its five levels.

    Args:
        name: One of :data:`mahtrt.models.maht_net.config.Encoder`.

    Attributes:
        dims: Channels of each level, shallow to deep.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        # Weights come from a checkpoint, never from a hub at construction.
        self.backbone = timm.create_model(name, pretrained=False, features_only=True)
        assert tuple(self.backbone.feature_info.reduction()) == STRIDES
        self.dims: tuple[int, ...] = tuple(self.backbone.feature_info.channels())

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to five maps (B, dims[i], H / 2**(i+1), W / 2**(i+1))."""
        levels: list[Tensor] = self.backbone(x)
        return levels
