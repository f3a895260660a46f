"""SpineConfig and the variants of the query decoder."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mahtrt.data.spine_phantom import SPINE_LANDMARKS
from mahtrt.errors import ModelError
from mahtrt.models.configs import check_input_size, config_of, refuse_settings, settings_of

Encoder = Literal["tf_efficientnetv2_s", "tf_efficientnetv2_b0", "lcnet_050"]
Decoder = Literal["query", "simple"]

ENCODER_STRIDE = 32


@dataclass(frozen=True, slots=True)
class SpineConfig:
    """Everything that decides the shape of a network for spines.

    Attributes:
        encoder: timm name of the CNN encoder.
        decoder: ``query`` starts from what a learned query per landmark found among the tokens,
            ``simple`` from the tokens themselves.
        input_size: (height, width) in pixels, multiples of 32. The heatmaps have the same size.
        landmarks: One name per landmark.
        width: Channels of the tokens and queries.
        num_heads: Heads of every attention.
        bridge_layers: Transformer layers over the tokens.
        query_layers: Layers in which queries look at tokens and at each other.
        decoder_dims: Channels of the map the decoder starts from, then of each two stages on the
            way: (start, strides 16 and 8, stride 4, strides 2 and 1).
        sigma: Standard deviation in cells of the Gaussians that heatmaps are trained on, and that
            DARK smooths with.
        dropout: In the transformer layers, while training.
        mean, std: Input normalisation, of intensities in [0, 1].
    """

    encoder: Encoder = "tf_efficientnetv2_s"
    decoder: Decoder = "query"
    input_size: tuple[int, int] = (512, 512)
    landmarks: tuple[str, ...] = SPINE_LANDMARKS
    width: int = 256
    num_heads: int = 8
    bridge_layers: int = 4
    query_layers: int = 3
    decoder_dims: tuple[int, int, int, int] = (256, 128, 64, 32)
    sigma: float = 2.0
    dropout: float = 0.1
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        refuse_settings(
            self,
            ("landmarks", self.landmarks, "at least one name"),
            ("num_heads", self.num_heads >= 1, "at least 1"),
            ("bridge_layers", self.bridge_layers >= 1, "at least 1"),
            ("query_layers", self.query_layers >= 1, "at least 1"),
            ("decoder_dims", min(self.decoder_dims) >= 1, "at least 1 each"),
            ("sigma", 0.1 <= self.sigma <= 64, "0.1 to 64 cells"),
            ("dropout", 0 <= self.dropout < 1, "a value from 0 to below 1"),
            ("std", all(0 < value < math.inf for value in self.std), "values above 0"),
        )
        if self.width < 4 or self.width % (4 * self.num_heads):
            raise ModelError(
                "width",
                got=f"{self.width} for {self.num_heads} heads",
                expected="a multiple of 4 * num_heads",
            )
        check_input_size(self.input_size, ENCODER_STRIDE, "The encoder halves the image five times")

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of the tokens."""
        return self.input_size[0] // ENCODER_STRIDE, self.input_size[1] // ENCODER_STRIDE

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as JSON gives it back: a spec that was read equals the one written."""
        return settings_of(self)


_NANO = SpineConfig(
    encoder="lcnet_050",
    input_size=(128, 128),
    width=64,
    num_heads=4,
    bridge_layers=2,
    query_layers=2,
    decoder_dims=(64, 64, 32, 32),
    dropout=0.0,
)
VARIANTS: Mapping[str, SpineConfig] = {
    "nano": _NANO,
    "nano-simple": dataclasses.replace(_NANO, decoder="simple"),
    "query": SpineConfig(),
    "simple": SpineConfig(decoder="simple"),
}


def variant_config(variant: str, overrides: Mapping[str, Any]) -> SpineConfig:
    """The config of a variant with some fields replaced.

    Raises:
        ModelError: An unknown variant or field, or values that cannot be combined.
    """
    return config_of("spine", VARIANTS, variant, overrides)
