"""LongitudinalConfig and the variants of the longitudinal networks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mahtrt.data.pairs_phantom import CHEST_LABELS
from mahtrt.errors import ModelError
from mahtrt.models.configs import check_input_size, config_of, refuse_settings, settings_of

Task = Literal["change", "reconstruction", "classification", "discriminator"]
Decoder = Literal["unet", "light"]

FEATURE_STRIDE = 16  # network pixels per cell of the encoder's features
TOKEN_STRIDE = 2 * FEATURE_STRIDE
NUM_BLOCKS = 8
_PYRAMID_STEPS = 4


@dataclass(frozen=True, slots=True)
class LongitudinalConfig:
    """Everything that decides the shape of a longitudinal network.

    Attributes:
        task: ``change`` takes a pair and gives a map; ``reconstruction`` takes an image and gives
            it again; ``classification`` gives logits; ``discriminator`` judges patches.
        input_size: (height, width) in pixels, multiples of 32; the token grid is static.
        stem_channels: Channels of the two layers of the channel expansion.
        block_channels: Channels that the eight EfficientNet-B7 blocks give.
        hidden_dim, num_layers, num_heads: The transformer's.
        inter_channels: Channels between the convolutions and the tokens, and of the compression.
        refine_before, refine_after: Residual blocks on each visit's features (shared), and behind
            the difference fusion.
        decoder: ``unet`` doubles the resolution four times with skips of a pair's difference;
            ``light`` enlarges twice by four.
        decoder_channels: Channels of the four steps of ``unet``; ``light`` takes the second and
            the last.
        patch_channels: Channels of the discriminator's convolutions.
        labels: One name per logit of the classification.
        mask_ratio: Share of an image's patches that the reconstruction hides while training.
        dropout: Share of whole feature channels left out, while training.
        mean, std: Input normalisation, of intensities in [0, 1].
    """

    task: Task = "change"
    input_size: tuple[int, int] = (512, 512)
    stem_channels: tuple[int, int] = (8, 64)
    block_channels: tuple[int, ...] = (32, 48, 80, 160, 224, 384, 640, 640)
    hidden_dim: int = 768
    num_layers: int = 12
    num_heads: int = 12
    inter_channels: int = 704
    refine_before: int = 0
    refine_after: int = 0
    decoder: Decoder = "unet"
    decoder_channels: tuple[int, ...] = (320, 160, 80, 40)
    patch_channels: tuple[int, ...] = (64, 128, 256, 512)
    labels: tuple[str, ...] = CHEST_LABELS
    mask_ratio: float = 0.5
    dropout: float = 0.1
    mean: tuple[float] = (0.5,)
    std: tuple[float] = (0.25,)

    def __post_init__(self) -> None:
        self._check_ranges()
        check_input_size(self.input_size, TOKEN_STRIDE, f"A token stands for {TOKEN_STRIDE} pixels")
        if self.hidden_dim % self.num_heads:
            raise ModelError(
                "hidden_dim",
                got=f"{self.hidden_dim} for {self.num_heads} heads",
                expected="a multiple of num_heads",
            )

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of the token grid."""
        return self.input_size[0] // TOKEN_STRIDE, self.input_size[1] // TOKEN_STRIDE

    @property
    def takes_pair(self) -> bool:
        """Whether a case is a baseline and a follow-up, not one image."""
        return self.task == "change"

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as JSON gives it back: a spec that was read equals the one written."""
        return settings_of(self)

    def _check_ranges(self) -> None:
        steps = f"{_PYRAMID_STEPS} numbers of channels, at least 1 each"
        refuse_settings(
            self,
            ("stem_channels", _all_positive(self.stem_channels, 2), "2 numbers of channels"),
            (
                "block_channels",
                _all_positive(self.block_channels, NUM_BLOCKS)
                and self.block_channels[-2] == self.block_channels[-1],
                f"{NUM_BLOCKS} numbers of channels of which the last two are equal",
            ),
            ("decoder_channels", _all_positive(self.decoder_channels, _PYRAMID_STEPS), steps),
            ("patch_channels", _all_positive(self.patch_channels, _PYRAMID_STEPS), steps),
            ("hidden_dim", self.hidden_dim >= 1, "at least 1"),
            ("num_layers", self.num_layers >= 1, "at least 1"),
            ("num_heads", self.num_heads >= 1, "at least 1"),
            ("inter_channels", self.inter_channels >= 1, "at least 1"),
            ("refine_before", self.refine_before >= 0, "0 or more"),
            ("refine_after", self.refine_after >= 0, "0 or more"),
            ("labels", self.labels, "at least one name"),
            ("mask_ratio", 0 <= self.mask_ratio < 1, "a value from 0 to below 1"),
            ("dropout", 0 <= self.dropout < 1, "a value from 0 to below 1"),
            ("std", 0 < min(self.std) < math.inf, "finite values above 0"),
        )


def _all_positive(values: tuple[int, ...], count: int) -> bool:
    return len(values) == count and min(values) >= 1


_NANO = LongitudinalConfig(
    input_size=(64, 64),
    stem_channels=(4, 8),
    block_channels=(8, 16, 24, 32, 48, 64, 64, 64),
    hidden_dim=96,
    num_layers=2,
    num_heads=3,
    inter_channels=64,
    decoder_channels=(48, 32, 16, 8),
    dropout=0.0,
)

VARIANTS: Mapping[str, LongitudinalConfig] = {
    "big": LongitudinalConfig(refine_before=2, refine_after=6),
    "small": LongitudinalConfig(decoder="light"),
    "masked-reconstruction": LongitudinalConfig(task="reconstruction"),
    "classification": LongitudinalConfig(task="classification"),
    "discriminator": LongitudinalConfig(task="discriminator"),
    "nano": _NANO,
    "nano-classification": dataclasses.replace(_NANO, task="classification"),
}


def variant_config(variant: str, overrides: Mapping[str, Any]) -> LongitudinalConfig:
    """The config of a variant with some fields replaced.

    Raises:
        ModelError: An unknown variant or field, or values that cannot be combined.
    """
    return config_of("longitudinal", VARIANTS, variant, overrides)
