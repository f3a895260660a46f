"""Pose-SPI: encoder to a feature vector, upsampling to a feature map, keypoints and visibility.

The first linear layer of ``simple`` has 33.5 of its 34 million weights. Coordinates are normalized
to the input: x = 0 and 1 are its left and right edge.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mahtrt.models.demo_recipe import DemoRecipe
from mahtrt.models.network import Network
from mahtrt.models.pose_spi.config import VARIANTS, PoseSpiConfig, variant_config
from mahtrt.models.pose_spi.encoder import Encoder, Upsampling
from mahtrt.models.pose_spi.heads import NUMBERS, EfficientNetHead, SimpleHead
from mahtrt.spec import DecodeSpec, InputSpec, ModelSpec, OutputSpec, QuantizeSpec

FAMILY = "pose-spi"
DEFAULT_VARIANT = "simple"
EXAMPLE_DATA = "phantom-pose"
DEMO = DemoRecipe(steps=400, batch_size=32)
FREE_SETTINGS = ("landmarks", "dropout", "mean", "std")

MIDDLE = 0.5  # of the image, as a normalized coordinate

_HEADS = {"simple": SimpleHead, "efficientnet": EfficientNetHead}


class PoseSpi(Network):
    """The whole network.

    Args:
        config: Its shape.
    """

    def __init__(self, config: PoseSpiConfig) -> None:
        super().__init__()
        self.config = config
        self.spec = spec_from_config(config)
        self.encoder = Encoder(config)
        self.upsampling = Upsampling(config)
        self.head = _HEADS[config.head](config)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 1, H, W) to the spec's outputs.

        Returns:
            ``landmarks`` (B, K, 2) as x, y in [0, 1] over the input, ``visibility`` (B, K), the
            probability that a keypoint can be seen.
        """
        numbers = self.head(self.upsampling(self.encoder(x))).unflatten(1, (-1, NUMBERS))
        # The head says how far from the middle: in half precision a small number is a precise one.
        return {"landmarks": numbers[..., :2] + MIDDLE, "visibility": numbers[..., 2].sigmoid()}


def spec_from_config(config: PoseSpiConfig) -> ModelSpec:
    """The spec of the network that a config describes."""
    image = InputSpec(
        size=config.input_size,
        channels=1,
        color_order="gray",
        mean=config.mean,
        std=config.std,
    )
    return ModelSpec(
        family=FAMILY,
        config=config.to_dict(),
        inputs=(image,),
        outputs=(
            OutputSpec("landmarks", "landmarks", frame="normalized"),
            OutputSpec("visibility", "visibility"),
        ),
        landmarks=config.landmarks,
        decode=DecodeSpec("regression"),
        quantize=QuantizeSpec(),  # nothing to leave out: docs/decisions.md, "INT8"
    )


def build(variant: str, overrides: Mapping[str, Any]) -> PoseSpi:
    """A Pose-SPI with random weights. See :func:`mahtrt.models.families.build_model`."""
    return PoseSpi(variant_config(variant or DEFAULT_VARIANT, overrides))


def variants() -> tuple[str, ...]:
    return tuple(VARIANTS)
