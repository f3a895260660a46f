"""Transformer bottleneck: attention over the tokens of the deepest feature map.

The token grid is static, so the position table is a constant of the network (and of the exported
graph), and so are the shift and the mask of Swin windows.
"""

from __future__ import annotations

from torch import Tensor, nn
from transformers import SwinConfig, ViTConfig
from transformers.models.swin.modeling_swin import SwinLayer
from transformers.models.vit.modeling_vit import ViTLayer

from mahtrt.models.layers import sine_position_table
from mahtrt.models.maht_net.config import MahtNetConfig


class TransformerBottleneck(nn.Module):
    """Linear in, 2-D sine positions, transformer layers, Linear out, residual.

    Args:
        input_dim: Channels of the deepest feature map.
        config: Sizes and kind of the transformer.
    """

    def __init__(self, input_dim: int, config: MahtNetConfig) -> None:
        super().__init__()
        self.grid = config.grid
        self.transformer = config.transformer
        self.input_projection = nn.Linear(input_dim, config.hidden_dim)
        table = sine_position_table(*config.grid, config.hidden_dim)
        self.register_buffer("positions", table, persistent=False)
        make_layers = _vit_layers if config.transformer == "vit" else _swin_layers
        self.layers = make_layers(config)
        self.output_projection = nn.Linear(config.hidden_dim, input_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to the same shape; h, w must be the config's grid."""
        tokens = x.flatten(2).transpose(1, 2)  # (B, h*w, C)
        tokens = self.input_projection(tokens) + self.positions
        for layer in self.layers:
            tokens = layer(tokens) if self.transformer == "vit" else layer(tokens, self.grid)[0]
        tokens = self.output_projection(tokens)
        offset: Tensor = tokens.transpose(1, 2).unflatten(2, self.grid)
        return x + offset


def _vit_layers(config: MahtNetConfig) -> nn.ModuleList:
    vit = ViTConfig(
        hidden_size=config.hidden_dim,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        intermediate_size=config.hidden_dim * 4,
        hidden_dropout_prob=config.dropout,
        attention_probs_dropout_prob=config.dropout,
        attn_implementation="eager",
    )
    return nn.ModuleList(ViTLayer(vit) for _ in range(config.num_layers))


def _swin_layers(config: MahtNetConfig) -> nn.ModuleList:
    window = min(config.window_size, *config.grid)
    swin = SwinConfig(
        embed_dim=config.hidden_dim,
        window_size=window,
        hidden_dropout_prob=config.dropout,
        attention_probs_dropout_prob=config.dropout,
        attn_implementation="eager",
    )
    # Every second layer's windows are shifted by half a window (Liu et al. 2021, section 3.2).
    shifts = [0 if index % 2 == 0 else window // 2 for index in range(config.num_layers)]
    return nn.ModuleList(
        SwinLayer(swin, config.hidden_dim, config.grid, config.num_heads, shift_size=shift)
        for shift in shifts
    )
