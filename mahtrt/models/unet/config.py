"""UNetConfig and the variants of the U-Net."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mahtrt.data.phantom import PHANTOM_LANDMARKS
from mahtrt.models.configs import check_input_size, config_of, refuse_settings, settings_of

LEVELS = 4
DEEPEST_STRIDE = 2**LEVELS


@dataclass(frozen=True, slots=True)
class UNetConfig:
    """Everything that decides the shape of a U-Net.

    Attributes:
        channels: Channels of the four levels, from full resolution down, then of the bottleneck.
        input_size: (height, width) in pixels, multiples of 16. The heatmaps have the same size.
        landmarks: One name per landmark.
        temperature: Temperature of the soft-argmax. The more cells a map has, the sharper it has
            to be, or the empty cells of a map in [0, 1] outweigh its peak.
        mean, std: Input normalisation, of intensities in [0, 1].
    """

    channels: tuple[int, int, int, int, int] = (64, 128, 256, 512, 512)
    input_size: tuple[int, int] = (512, 512)
    landmarks: tuple[str, ...] = PHANTOM_LANDMARKS
    temperature: float = 0.03
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        refuse_settings(
            self,
            ("channels", min(self.channels) >= 1, "at least 1 each"),
            ("landmarks", self.landmarks, "at least one name"),
            ("temperature", 0 < self.temperature < math.inf, "a finite value above 0"),
            ("std", min(self.std) > 0, "values above 0"),
        )
        check_input_size(
            self.input_size, DEEPEST_STRIDE, f"The encoder halves the image {LEVELS} times"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as JSON gives it back: a spec that was read equals the one written."""
        return settings_of(self)


VARIANTS: Mapping[str, UNetConfig] = {
    "nano": UNetConfig(channels=(16, 32, 64, 128, 128), input_size=(128, 128), temperature=0.05),
    "small": UNetConfig(channels=(32, 64, 128, 256, 256)),
    "base": UNetConfig(),
}


def variant_config(variant: str, overrides: Mapping[str, Any]) -> UNetConfig:
    """The config of a variant with some fields replaced.

    Raises:
        ModelError: An unknown variant or field, or values that cannot be combined.
    """
    return config_of("unet", VARIANTS, variant, overrides)
