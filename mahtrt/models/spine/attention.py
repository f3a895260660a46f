"""Attention over tokens and learned queries.

Layers normalise before each part, as Vaswani et al. 2017 after Xiong et al. 2020, which trains
without warm-up. The token grid is static, so the position table is a constant of the graph.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mahtrt.models.layers import sine_position_table
from mahtrt.models.spine.config import SpineConfig

_MLP_RATIO = 4


class Attention(nn.Module):
    """Multi-head attention of one set of vectors to another.

    Args:
        width: Channels of both.
        num_heads: Divides the width.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim = num_heads, width // num_heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, to: Tensor) -> Tensor:
        """(B, N, C) that looks at (B, M, C), to (B, N, C)."""
        query, key, value = (
            each.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)
            for each in (self.query(x), self.key(to), self.value(to))
        )  # (B, heads, N or M, head_dim)
        scores = query @ key.transpose(-2, -1) / math.sqrt(self.head_dim)
        mixed = torch.softmax(scores, dim=-1) @ value
        output: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return output


class Mlp(nn.Sequential):
    """Two linear layers with a GELU between them."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__(
            nn.Linear(width, _MLP_RATIO * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(_MLP_RATIO * width, width),
        )


class BridgeLayer(nn.Module):
    """Self-attention of the tokens, then an MLP, each beside a residual."""

    def __init__(self, config: SpineConfig) -> None:
        super().__init__()
        width = config.width
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, config.num_heads)
        self.mlp = Mlp(width, config.dropout)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) to the same shape."""
        normed = self.norm1(tokens)
        tokens = tokens + self.dropout(self.attention(normed, normed))
        out: Tensor = tokens + self.dropout(self.mlp(self.norm2(tokens)))
        return out


class TransformerBridge(nn.Module):
    """The deepest feature map as tokens that have seen each other.

    Args:
        input_dim: Channels of the deepest feature map.
        config: Sizes.
    """

    def __init__(self, input_dim: int, config: SpineConfig) -> None:
        super().__init__()
        self.projection = nn.Conv2d(input_dim, config.width, 1)
        table = sine_position_table(*config.grid, config.width)
        self.register_buffer("positions", table, persistent=False)
        self.layers = nn.ModuleList(BridgeLayer(config) for _ in range(config.bridge_layers))
        self.norm = nn.LayerNorm(config.width)

    positions: Tensor  # (1, N, C)

    def forward(self, x: Tensor) -> Tensor:
        """(B, input_dim, h, w) to tokens (B, h * w, C)."""
        tokens = self.projection(x).flatten(2).transpose(1, 2) + self.positions
        for layer in self.layers:
            tokens = layer(tokens)
        normed: Tensor = self.norm(tokens)
        return normed


class QueryLayer(nn.Module):
    """Queries look at the tokens, then at each other, then an MLP, each beside a residual."""

    def __init__(self, config: SpineConfig) -> None:
        super().__init__()
        width = config.width
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.cross_attention = Attention(width, config.num_heads)
        self.self_attention = Attention(width, config.num_heads)
        self.mlp = Mlp(width, config.dropout)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """(B, K, C) beside tokens (B, N, C), to (B, K, C)."""
        queries = queries + self.dropout(self.cross_attention(self.norm1(queries), tokens))
        normed = self.norm2(queries)
        queries = queries + self.dropout(self.self_attention(normed, normed))
        out: Tensor = queries + self.dropout(self.mlp(self.norm3(queries)))
        return out


class LandmarkQueries(nn.Module):
    """A learned query per landmark, and what it found among the tokens.

    Args:
        config: Sizes.
    """

    def __init__(self, config: SpineConfig) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(1, len(config.landmarks), config.width))
        self.layers = nn.ModuleList(QueryLayer(config) for _ in range(config.query_layers))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, N, C) to (B, K, C)."""
        queries = self.embedding.repeat(tokens.shape[0], 1, 1)
        for layer in self.layers:
            queries = layer(queries, tokens)
        normed: Tensor = self.norm(queries)
        return normed
