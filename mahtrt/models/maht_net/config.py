"""MahtNetConfig and the five variants of MAHT-Net."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mahtrt.data.phantom import PHANTOM_LANDMARKS
from mahtrt.errors import ModelError
from mahtrt.models.configs import check_input_size, config_of, refuse_settings, settings_of

Encoder = Literal["efficientnet_b0", "efficientnet_b1", "efficientnet_b3", "resnet34", "resnet50"]
Transformer = Literal["vit", "swin"]

ENCODER_STRIDE = 32
PYRAMID_LEVELS = 5


@dataclass(frozen=True, slots=True)
class MahtNetConfig:
    """Everything that decides the shape of a MAHT-Net.

    Attributes:
        encoder: timm name of the CNN encoder.
        transformer: Global attention over all tokens (``vit``) or windows of them (``swin``).
        input_size: (height, width) in pixels, multiples of 32; the token grid is static.
        landmarks: One name per landmark.
        hidden_dim, num_layers, num_heads: The transformer's.
        window_size: Tokens on a side of a Swin window.
        decoder_dims: Channels of the fused pyramid, then of each of the four decoder blocks.
        head_dims: Channels of the two convolutions before the heatmaps.
        heatmap_stride: Network pixels per heatmap cell.
        temperature: Temperature of the soft-argmax. Over sigmoid heatmaps in [0, 1], 1 gives the
            map's centre whatever the image, so new checkpoints use a sharp one.
        dropout: In the transformer and the auxiliary head, while training.
        mean, std: Input normalisation, of intensities in [0, 1].
    """

    encoder: Encoder = "efficientnet_b3"
    transformer: Transformer = "vit"
    input_size: tuple[int, int] = (512, 512)
    landmarks: tuple[str, ...] = PHANTOM_LANDMARKS
    hidden_dim: int = 768
    num_layers: int = 6
    num_heads: int = 12
    window_size: int = 8
    decoder_dims: tuple[int, ...] = (256, 128, 64, 32, 16)
    head_dims: tuple[int, int] = (64, 32)
    heatmap_stride: int = 4
    temperature: float = 0.05
    dropout: float = 0.1
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        self._check_ranges()
        check_input_size(self.input_size, ENCODER_STRIDE, "The encoder halves the image five times")
        if self.hidden_dim % (4 * self.num_heads):
            raise ModelError(
                "hidden_dim",
                got=f"{self.hidden_dim} for {self.num_heads} heads",
                expected="a multiple of 4 * num_heads",
            )

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of the token grid."""
        return self.input_size[0] // ENCODER_STRIDE, self.input_size[1] // ENCODER_STRIDE

    @property
    def heatmap_size(self) -> tuple[int, int]:
        """(height, width) of the heatmaps."""
        return self.input_size[0] // self.heatmap_stride, self.input_size[1] // self.heatmap_stride

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as JSON gives it back: a spec that was read equals the one written."""
        return settings_of(self)

    def _check_ranges(self) -> None:
        dims = self.decoder_dims
        refuse_settings(
            self,
            ("landmarks", self.landmarks, "at least one name"),
            ("num_layers", self.num_layers >= 1, "at least 1"),
            ("num_heads", self.num_heads >= 1, "at least 1"),
            ("hidden_dim", self.hidden_dim >= 1, "at least 1"),
            ("window_size", self.window_size >= 1, "at least 1"),
            # Attention gates work on half of the channels.
            (
                "decoder_dims",
                len(dims) == PYRAMID_LEVELS and min(dims) >= 2,
                f"{PYRAMID_LEVELS} numbers of channels, at least 2 each",
            ),
            ("head_dims", min(self.head_dims) >= 1, "at least 1 each"),
            (
                "heatmap_stride",
                1 <= self.heatmap_stride <= ENCODER_STRIDE,
                f"1 to {ENCODER_STRIDE}",
            ),
            ("temperature", 0 < self.temperature < math.inf, "a finite value above 0"),
            ("dropout", 0 <= self.dropout < 1, "a value from 0 to below 1"),
            ("std", min(self.std) > 0, "values above 0"),
        )


VARIANTS: Mapping[str, MahtNetConfig] = {
    "nano": MahtNetConfig(
        encoder="efficientnet_b0",
        input_size=(256, 256),
        hidden_dim=192,
        num_layers=4,
        num_heads=3,
        decoder_dims=(32, 32, 32, 32, 16),
        head_dims=(32, 32),
    ),
    "small": MahtNetConfig(
        encoder="efficientnet_b1",
        hidden_dim=384,
        num_layers=4,
        num_heads=6,
        decoder_dims=(128, 64, 32, 32, 16),
    ),
    "base": MahtNetConfig(),
    "large": MahtNetConfig(
        encoder="resnet50",
        hidden_dim=1024,
        num_layers=8,
        num_heads=16,
        decoder_dims=(320, 160, 96, 64, 32),
    ),
    "efficient": MahtNetConfig(
        encoder="efficientnet_b0",
        hidden_dim=256,
        num_layers=3,
        num_heads=4,
        decoder_dims=(96, 64, 32, 32, 16),
        head_dims=(32, 32),
    ),
}


def variant_config(variant: str, overrides: Mapping[str, Any]) -> MahtNetConfig:
    """The config of a variant with some fields replaced.

    Raises:
        ModelError: An unknown variant or field, or values that cannot be combined.
    """
    return config_of("maht-net", VARIANTS, variant, overrides)
