"""From the feature map to numbers per keypoint: x, y from the middle, and a logit of visibility."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mahtrt.models.pose_spi.config import PoseSpiConfig
from mahtrt.models.pose_spi.encoder import MAP_SIZE

NUMBERS = 3  # per keypoint
ENCODER_FEATURES = 1280  # of efficientnet_b0


class SimpleHead(nn.Module):
    """Convolution, ReLU, average of 2x2; convolution, average of all.

    The text has a ReLU before the last average too. With it a logit of visibility would never be
    below 0, so no keypoint could be invisible, and a coordinate that falls below 0 would learn
    nothing any more: there is none here.

    Args:
        config: Sizes.
    """

    def __init__(self, config: PoseSpiConfig) -> None:
        super().__init__()
        channels = config.channels // 2 or 1
        self.refine = nn.Conv2d(config.channels, channels, 3, padding=1)
        self.predict = nn.Conv2d(channels, NUMBERS * len(config.landmarks), 3, padding=1)
        _start_at_zero(self.predict)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, 64, 64) to (B, 3 K)."""
        x = self.predict(F.avg_pool2d(F.relu(self.refine(x)), 2))  # (B, 3 K, 32, 32)
        return F.avg_pool2d(x, MAP_SIZE // 2).flatten(1)


class EfficientNetHead(nn.Module):
    """1x1 convolution to three channels, EfficientNet-B0, three linear layers.

    Args:
        config: Sizes.
    """

    def __init__(self, config: PoseSpiConfig) -> None:
        super().__init__()
        import timm  # only this head needs it

        self.transition = nn.Conv2d(config.channels, 3, 1)
        # Weights come from a checkpoint, never from a hub at construction.
        self.backbone = timm.create_model("efficientnet_b0", pretrained=False, num_classes=0)
        last = nn.Linear(256, NUMBERS * len(config.landmarks))
        self.predict = nn.Sequential(
            nn.Linear(ENCODER_FEATURES, 512),
            nn.ReLU(inplace=True),
            nn.Dropout(config.dropout),
            nn.Linear(512, 256),
            nn.ReLU(inplace=True),
            nn.Dropout(config.dropout),
            last,
        )
        _start_at_zero(last)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, 64, 64) to (B, 3 K)."""
        numbers: Tensor = self.predict(self.backbone(self.transition(x)))
        return numbers


def _start_at_zero(last: nn.Conv2d | nn.Linear) -> None:
    """Let coordinates start in the middle of the image, and visibility undecided."""
    assert last.bias is not None
    nn.init.zeros_(last.bias)
