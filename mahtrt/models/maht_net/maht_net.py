"""MAHT-Net: CNN encoder, transformer bottleneck, attention-gated decoder, landmark heatmaps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mahtrt.models.heatmaps import HEATMAP_OUTPUTS, heatmap_outputs
from mahtrt.models.maht_net.bottleneck import TransformerBottleneck
from mahtrt.models.maht_net.config import VARIANTS, MahtNetConfig, variant_config
from mahtrt.models.maht_net.decoder import AttentionGatedDecoder
from mahtrt.models.maht_net.encoders import Encoder
from mahtrt.models.maht_net.head import HeatmapHead
from mahtrt.models.network import Network
from mahtrt.models.soft_argmax import SoftArgmax2d
from mahtrt.spec import DecodeSpec, InputSpec, ModelSpec, QuantizeSpec

FAMILY = "maht-net"
DEFAULT_VARIANT = "base"
EXAMPLE_DATA = "phantom"
DEMO = None
FREE_SETTINGS = (
    "input_size",
    "landmarks",
    "heatmap_stride",
    "temperature",
    "dropout",
    "mean",
    "std",
)


class MahtNet(Network):
    """The whole network.

    Args:
        config: Its shape.
    """

    def __init__(self, config: MahtNetConfig) -> None:
        super().__init__()
        self.config = config
        self.spec = spec_from_config(config)
        self.encoder = Encoder(config.encoder)
        self.transformer = TransformerBottleneck(self.encoder.dims[-1], config)
        self.decoder = AttentionGatedDecoder(self.encoder.dims, config.decoder_dims)
        self.head = HeatmapHead(
            config.decoder_dims[-1],
            config.head_dims,
            len(config.landmarks),
            config.heatmap_size,
            config.dropout,
        )
        self.soft_argmax = SoftArgmax2d(config.temperature, config.heatmap_size, config.input_size)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) to the spec's outputs.

        Returns:
            ``landmarks`` (B, K, 2) and ``spread`` (B, K) in network pixels, ``confidence`` (B, K),
            ``heatmaps`` (B, K, h, w); while training also ``auxiliary`` (B, K, 2) in [0, 1].
        """
        features = self.encoder(x)
        heatmaps, auxiliary = self.head(self.decoder(features, self.transformer(features[-1])))
        outputs = heatmap_outputs(heatmaps, self.soft_argmax)
        if auxiliary is not None:
            outputs["auxiliary"] = auxiliary
        return outputs

    def parameter_groups(self) -> dict[str, tuple[str, ...]]:
        """See :meth:`mahtrt.models.network.Network.parameter_groups`."""
        return {
            "encoder": ("encoder.",),
            "transformer": ("transformer.",),
            "decoder": ("decoder.", "head."),
        }


def spec_from_config(config: MahtNetConfig) -> ModelSpec:
    """The spec of the network that a config describes."""
    return ModelSpec(
        family=FAMILY,
        config=config.to_dict(),
        inputs=(InputSpec(size=config.input_size, mean=config.mean, std=config.std),),
        outputs=HEATMAP_OUTPUTS,
        landmarks=config.landmarks,
        decode=DecodeSpec("soft_argmax", config.temperature, config.heatmap_size),
        # Where INT8 costs landmarks pixels: docs/decisions.md, "INT8".
        quantize=QuantizeSpec(exclude=("encoder",)),
    )


def build(variant: str, overrides: Mapping[str, Any]) -> MahtNet:
    """A MAHT-Net with random weights. See :func:`mahtrt.models.build_model`."""
    return MahtNet(variant_config(variant or DEFAULT_VARIANT, overrides))


def variants() -> tuple[str, ...]:
    return tuple(VARIANTS)
