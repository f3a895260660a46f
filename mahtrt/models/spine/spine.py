"""Query decoder for spines: encoder, transformer bridge, landmark queries, heatmaps, DARK.

A CNN gives five levels of features, of strides 2 to 32. The deepest becomes tokens, which a
transformer lets see each other. Each landmark has a learned query that looks for it among the
tokens; what the queries found becomes a small map, and a decoder with skips makes it one heatmap
per landmark, as large as the image. Variants without queries decode the tokens themselves.

Heatmaps are linear: they are trained by squares on Gaussians of ``decode.sigma`` cells with a peak
of 1, which is what DARK takes them for (:mod:`mahtrt.runtime.dark`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
from torch import Tensor, nn

from mahtrt.models.dark import Dark2d
from mahtrt.models.demo_recipe import DemoRecipe
from mahtrt.models.heatmaps import HEATMAP_OUTPUTS, heatmap_outputs
from mahtrt.models.network import Network
from mahtrt.models.spine.attention import LandmarkQueries, TransformerBridge
from mahtrt.models.spine.config import VARIANTS, SpineConfig, variant_config
from mahtrt.models.spine.decoder import Decoder, QueriesToMap, TokensToMap
from mahtrt.spec import DECODING, DecodeSpec, InputSpec, ModelSpec, QuantizeSpec

FAMILY = "spine"
DEFAULT_VARIANT = "query"
EXAMPLE_DATA = "phantom-spine"
DEMO = DemoRecipe(steps=280, batch_size=8, learning_rate=3e-3)
FREE_SETTINGS = ("input_size", "landmarks", "sigma", "dropout", "mean", "std")

_STRIDES = [2, 4, 8, 16, 32]


class SpineNet(Network):
    """The whole network.

    Args:
        config: Its shape.
    """

    def __init__(self, config: SpineConfig) -> None:
        super().__init__()
        self.config = config
        self.spec = spec_from_config(config)
        # Weights come from a checkpoint, never from a hub at construction.
        self.encoder = timm.create_model(config.encoder, pretrained=False, features_only=True)
        assert self.encoder.feature_info.reduction() == _STRIDES
        dims = self.encoder.feature_info.channels()
        self.bridge = TransformerBridge(dims[-1], config)
        has_queries = config.decoder == "query"
        self.queries = LandmarkQueries(config) if has_queries else nn.Identity()
        self.start = QueriesToMap(config) if has_queries else TokensToMap(config)
        self.decoder = Decoder(dims, config)
        # By this name, everything keeps the decoding in FP32.
        self.add_module(DECODING, Dark2d(config.sigma, config.input_size, config.input_size))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) to the spec's outputs.

        Returns:
            ``landmarks`` (B, K, 2) and ``spread`` (B, K) in network pixels, ``confidence`` (B, K),
            ``heatmaps`` (B, K, H, W).
        """
        features = self.encoder(x)
        tokens = self.bridge(features[-1])
        heatmaps = self.decoder(self.start(self.queries(tokens)), features)
        return heatmap_outputs(heatmaps, getattr(self, DECODING))

    def parameter_groups(self) -> dict[str, tuple[str, ...]]:
        """See :meth:`mahtrt.models.network.Network.parameter_groups`."""
        return {
            "encoder": ("encoder.",),
            "transformer": ("bridge.", "queries."),
            "decoder": ("start.", "decoder."),
        }


def spec_from_config(config: SpineConfig) -> ModelSpec:
    """The spec of the network that a config describes."""
    return ModelSpec(
        family=FAMILY,
        config=config.to_dict(),
        inputs=(InputSpec(size=config.input_size, mean=config.mean, std=config.std),),
        outputs=HEATMAP_OUTPUTS,
        landmarks=config.landmarks,
        decode=DecodeSpec("dark", heatmap_size=config.input_size, sigma=config.sigma),
        quantize=QuantizeSpec(),
    )


def build(variant: str, overrides: Mapping[str, Any]) -> SpineNet:
    """A network with random weights. See :func:`mahtrt.models.families.build_model`."""
    return SpineNet(variant_config(variant or DEFAULT_VARIANT, overrides))


def variants() -> tuple[str, ...]:
    return tuple(VARIANTS)
