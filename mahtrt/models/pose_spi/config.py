"""PoseSpiConfig and the variants of Pose-SPI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mahtrt.data.pose_phantom import COCO_KEYPOINTS
from mahtrt.models.configs import check_input_size, config_of, refuse_settings, settings_of

Head = Literal["simple", "efficientnet"]

# COCO's keypoints without eyes and ears; of annotated data, --points 0,5,6,…,16.
POINTS_13 = (0, *range(5, 17))
KEYPOINTS_13 = tuple(COCO_KEYPOINTS[index] for index in POINTS_13)

POOL = 2  # of the encoder's max pool


@dataclass(frozen=True, slots=True)
class PoseSpiConfig:
    """Everything that decides the shape of a Pose-SPI.

    Attributes:
        head: Two convolutions and averages (``simple``), or an EfficientNet-B0 (``efficientnet``).
        input_size: (height, width) in pixels, even; it decides the size of the first linear layer.
        landmarks: One name per keypoint.
        channels: Channels of the first convolution and of the feature map.
        hidden_dim: Width between the encoder's two linear layers.
        feature_dim: Length of the feature vector that describes the image.
        dropout: Before the last two linear layers of the EfficientNet head, while training.
        mean, std: Input normalisation, of intensities in [0, 1].
    """

    head: Head = "simple"
    input_size: tuple[int, int] = (64, 64)
    landmarks: tuple[str, ...] = COCO_KEYPOINTS
    channels: int = 64
    hidden_dim: int = 512
    feature_dim: int = 256
    dropout: float = 0.3
    mean: tuple[float] = (0.5,)
    std: tuple[float] = (0.25,)

    def __post_init__(self) -> None:
        refuse_settings(
            self,
            ("landmarks", self.landmarks, "at least one name"),
            ("channels", self.channels >= 1, "at least 1"),
            ("hidden_dim", self.hidden_dim >= 1, "at least 1"),
            ("feature_dim", self.feature_dim >= 1, "at least 1"),
            ("dropout", 0 <= self.dropout < 1, "a value from 0 to below 1"),
            ("std", min(self.std) > 0, "a value above 0"),
        )
        check_input_size(self.input_size, POOL, "The encoder halves the image")

    @property
    def pooled_size(self) -> int:
        """Numbers per image after the encoder's max pool."""
        height, width = self.input_size
        return self.channels * (height // POOL) * (width // POOL)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as JSON gives it back: a spec that was read equals the one written."""
        return settings_of(self)


VARIANTS: Mapping[str, PoseSpiConfig] = {
    "nano": PoseSpiConfig(channels=32, hidden_dim=64, feature_dim=64),
    "simple": PoseSpiConfig(),
    "efficientnet": PoseSpiConfig(head="efficientnet"),
}


def variant_config(variant: str, overrides: Mapping[str, Any]) -> PoseSpiConfig:
    """The config of a variant with some fields replaced.

    Raises:
        ModelError: An unknown variant or field, or values that cannot be combined.
    """
    return config_of("pose-spi", VARIANTS, variant, overrides)
