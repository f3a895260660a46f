"""The bottleneck: a transformer branch beside a convolutional one, and their compression."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import ViTConfig
from transformers.models.vit.modeling_vit import ViTLayer

from mahtrt.models.longitudinal.blocks import INIT_STD, conv, conv_norm_act, down, group_norm, up
from mahtrt.models.longitudinal.config import LongitudinalConfig

_TABLE = (16, 16)  # grid of the learned positions: that of a 512x512 image


class TransformerBranch(nn.Module):
    """Half the resolution, attention over all of the tokens, and back.

    Args:
        config: Sizes of the transformer. The learned positions are a table for 16x16 tokens,
            enlarged or shrunk to the grid of the input size, so that weights fit every size.
    """

    def __init__(self, config: LongitudinalConfig) -> None:
        super().__init__()
        features, inter, hidden = (
            config.block_channels[-1],
            config.inter_channels,
            config.hidden_dim,
        )
        self.grid = config.grid
        self.down = down(features, inter)
        self.embed = nn.Conv2d(inter, hidden, 1)
        self.positions = nn.Parameter(torch.empty(1, hidden, *_TABLE))
        nn.init.trunc_normal_(self.positions, std=INIT_STD)
        vit = ViTConfig(
            hidden_size=hidden,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            intermediate_size=4 * hidden,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            attn_implementation="eager",
        )
        self.layers = nn.ModuleList(ViTLayer(vit) for _ in range(config.num_layers))
        self.narrow = nn.Sequential(conv(hidden, inter, 1), group_norm(inter), nn.ReLU())
        self.up = up(inter, features)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to the same shape; h, w must be those of the config's input size."""
        x = self.embed(self.down(x)) + self._positions()
        tokens = x.flatten(2).transpose(1, 2)  # (B, rows * columns, hidden)
        for layer in self.layers:
            tokens = layer(tokens)
        x = tokens.transpose(1, 2).unflatten(2, self.grid)
        widened: Tensor = self.up(self.narrow(x))
        return widened

    def _positions(self) -> Tensor:
        if self.grid == _TABLE:
            return self.positions
        return F.interpolate(self.positions, self.grid, mode="bilinear", align_corners=False)


class Bottleneck(nn.Module):
    """Both branches beside the features they started from, compressed to as many channels.

    Args:
        config: Channels of the features and between.
    """

    def __init__(self, config: LongitudinalConfig) -> None:
        super().__init__()
        channels, inter = config.block_channels[-1], config.inter_channels
        self.dropout = nn.Dropout2d(config.dropout)
        self.transformer = TransformerBranch(config)
        self.convolution = nn.Sequential(conv(channels, channels), group_norm(channels))
        self.compress = nn.Sequential(
            conv_norm_act(3 * channels, inter, kernel=1),
            conv(inter, inter, kernel=3, groups=inter),
            conv(inter, channels, kernel=1),
            group_norm(channels),
        )
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to the same shape."""
        x = self.dropout(x)
        local = self.act(self.convolution(x) + x)
        both = torch.cat([self.transformer(x), local, x], dim=1)
        compressed: Tensor = self.act(self.compress(both) + x)
        return compressed
