"""Longitudinal change: two visits of a patient to a map of what changed between them.

Where the seed contradicts itself or stays silent, this is how it is read:

- Encoder: see :mod:`mahtrt.models.longitudinal.encoder`. Both visits pass through it as one batch
  of twice the size, so a graph holds it once and INT8 ranges are the same for both.
- The transformer branch is ViT-Base on 16x16 tokens of a 512x512 image (85.1 M parameters); other
  sizes have other grids of the same 32-pixel tokens. It is part of every network but the
  discriminator, since "about 100 M" for the reconstruction leaves no other reading.
- Skips reach the decoder as the difference of the two visits: where nothing changed they are zero.
  The reconstruction has none, which would hand it the image it has to fill in.
- ``big`` has residual blocks (7.4 M parameters each) on each visit's features and behind the
  fusion: with the fusion, the transformer and the decoder alone it would have 118 M parameters,
  and the seed says about 180.
- ``small`` ends in two convolutions and enlargements instead of the full decoder.
- No weights are loaded at construction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mahtrt.models.demo_recipe import DemoRecipe
from mahtrt.models.longitudinal.blocks import ResidualBlock, initialise
from mahtrt.models.longitudinal.bottleneck import Bottleneck
from mahtrt.models.longitudinal.config import VARIANTS, LongitudinalConfig, variant_config
from mahtrt.models.longitudinal.decoder import INITIAL_BIAS, LightDecoder, UNetDecoder
from mahtrt.models.longitudinal.encoder import Encoder
from mahtrt.models.longitudinal.fusion import DifferenceFusion
from mahtrt.models.longitudinal.heads import FindingsHead, PatchDiscriminator
from mahtrt.models.network import Network
from mahtrt.spec import DecodeSpec, InputSpec, ModelSpec, OutputSpec, QuantizeSpec

FAMILY = "longitudinal"
DEFAULT_VARIANT = "big"
FREE_SETTINGS = ("input_size", "labels", "mask_ratio", "dropout", "mean", "std")
# The discriminator judges maps; a chest as its own map is the one image among the phantoms.
EXAMPLE_DATA = {
    name: "phantom-pairs" if config.takes_pair else "phantom-chest"
    for name, config in VARIANTS.items()
}
DEMO = DemoRecipe(steps=230, batch_size=8, learning_rate=3e-3)

_MASKED_PATCH = 32  # side in pixels of what the reconstruction hides while training


class _EncodingNetwork(Network):
    """Encoder and bottleneck, which all networks but the discriminator begin with.

    Args:
        config: Its shape.
    """

    def __init__(self, config: LongitudinalConfig) -> None:
        super().__init__()
        self.config, self.spec = config, spec_from_config(config)
        self.encoder = Encoder(config)
        self.bottleneck = Bottleneck(config)


class ChangeNetwork(_EncodingNetwork):
    """A pair of images to the map of what changed.

    Args:
        config: Its shape.
    """

    def __init__(self, config: LongitudinalConfig) -> None:
        super().__init__(config)
        channels = config.block_channels[-1]
        self.before = _residual_blocks(channels, config.refine_before)
        self.fusion = DifferenceFusion(channels)
        self.after = _residual_blocks(channels, config.refine_after)
        self.decoder = _decoder(config, self.encoder.skip_channels)
        initialise(self)
        bias = self.decoder.map.bias
        assert bias is not None
        nn.init.constant_(bias, INITIAL_BIAS)

    def forward(self, baseline: Tensor, followup: Tensor) -> dict[str, Tensor]:
        """Two times (B, 1, H, W) to ``change`` (B, 1, H, W) in [0, 1], on the baseline's pixels."""
        features, skips = self.encoder(torch.cat([baseline, followup]))
        first, second = self.before(self.bottleneck(features)).chunk(2)
        fused = self.after(self.fusion(first, second))
        return {"change": self.decoder(fused, [_difference(skip) for skip in skips]).sigmoid()}


class ReconstructionNetwork(_EncodingNetwork):
    """An image of which parts are hidden while training, to the whole of it.

    Args:
        config: Its shape.
    """

    def __init__(self, config: LongitudinalConfig) -> None:
        super().__init__(config)
        self.decoder = _decoder(config, ())
        initialise(self)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """(B, 1, H, W) to ``reconstruction`` (B, 1, H, W), intensities in [0, 1]."""
        if self.training and self.config.mask_ratio:
            image = hide_patches(image, self.config.mask_ratio)
        features, _ = self.encoder(image)
        return {"reconstruction": self.decoder(self.bottleneck(features) + features).sigmoid()}


class ClassificationNetwork(_EncodingNetwork):
    """An image to one logit per finding.

    Args:
        config: Its shape.
    """

    def __init__(self, config: LongitudinalConfig) -> None:
        super().__init__(config)
        channels = config.block_channels[-1]
        self.head = FindingsHead(channels, len(config.labels), config.dropout)
        initialise(self)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """(B, 1, H, W) to ``findings`` (B, L), logits."""
        features, _ = self.encoder(image)
        return {"findings": self.head(self.bottleneck(features))}


class DiscriminatorNetwork(Network):
    """A map to how true each patch of it looks.

    Args:
        config: Its shape.
    """

    def __init__(self, config: LongitudinalConfig) -> None:
        super().__init__()
        self.config, self.spec = config, spec_from_config(config)
        self.discriminator = PatchDiscriminator(config.patch_channels)
        initialise(self)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """(B, 1, H, W) to ``patches`` (B, 1, H/8, W/8), probabilities in [0, 1]."""
        return {"patches": self.discriminator(image).sigmoid()}


def hide_patches(image: Tensor, share: float) -> Tensor:
    """Images (B, 1, H, W) with a random share of their 32-pixel patches at the mean intensity."""
    rows, columns = (side // _MASKED_PATCH for side in image.shape[2:])
    kept = torch.rand(len(image), 1, rows, columns, device=image.device) >= share
    return image * F.interpolate(kept.to(image.dtype), scale_factor=_MASKED_PATCH, mode="nearest")


def spec_from_config(config: LongitudinalConfig) -> ModelSpec:
    """The spec of the network that a config describes."""
    output = {
        "change": OutputSpec("change", "map"),
        "reconstruction": OutputSpec("reconstruction", "map"),
        "classification": OutputSpec("findings", "logits", labels=config.labels),
        "discriminator": OutputSpec("patches", "map"),
    }[config.task]
    return ModelSpec(
        family=FAMILY,
        config=config.to_dict(),
        inputs=tuple(
            InputSpec(
                name=name,
                size=config.input_size,
                channels=1,
                color_order="gray",
                mean=config.mean,
                std=config.std,
            )
            for name in (("baseline", "followup") if config.takes_pair else ("image",))
        ),
        outputs=(output,),
        decode=DecodeSpec("none"),
        # A change is a small difference of two visits' features, so errors of the encoder reach the
        # map undiluted: mean difference 0.0099 with it in INT8 and 0.0004 without (``small`` at
        # 256 px, briefly trained). It is a sixth of the arithmetic of ``big``.
        quantize=QuantizeSpec(exclude=("encoder",)),
    )


def build(variant: str, overrides: Mapping[str, Any]) -> Network:
    """A longitudinal network with random weights. See :func:`mahtrt.models.build_model`."""
    config = variant_config(variant or DEFAULT_VARIANT, overrides)
    networks = {
        "change": ChangeNetwork,
        "reconstruction": ReconstructionNetwork,
        "classification": ClassificationNetwork,
        "discriminator": DiscriminatorNetwork,
    }
    return networks[config.task](config)


def variants() -> tuple[str, ...]:
    return tuple(VARIANTS)


def _decoder(
    config: LongitudinalConfig, skip_channels: tuple[int, ...]
) -> UNetDecoder | LightDecoder:
    channels = config.decoder_channels
    if config.decoder == "light":
        return LightDecoder(config.block_channels[-1], (channels[1], channels[-1]))
    return UNetDecoder(config.block_channels[-1], channels, skip_channels)


def _residual_blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(count)))


def _difference(skip: Tensor) -> Tensor:
    """The second visit's half of a skip (2B, C, h, w) less the first's."""
    first, second = skip.chunk(2)
    return second - first
