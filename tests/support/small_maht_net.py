"""A MAHT-Net whose arithmetic takes milliseconds."""

from __future__ import annotations

from typing import Any

import torch

from mahtrt.models.families import build_model
from mahtrt.models.maht_net.maht_net import MahtNet

SMALL: dict[str, Any] = {
    "encoder": "efficientnet_b0",
    "input_size": (64, 96),
    "hidden_dim": 24,
    "num_layers": 2,
    "num_heads": 2,
    "decoder_dims": (8, 8, 8, 8, 4),
    "head_dims": (8, 8),
}

# The smallest that trains: a step takes a fraction of a second.
TRAINED: dict[str, Any] = {
    **SMALL,
    "encoder": "efficientnet_b0",
    "input_size": (64, 64),
    "num_layers": 1,
    "decoder_dims": (8, 8, 8, 8, 8),
}


def small_net(seed: int = 0, **overrides: Any) -> MahtNet:
    """Seeded random weights, in training mode."""
    torch.manual_seed(seed)
    module = build_model("maht-net/nano", **{**SMALL, **overrides})
    assert isinstance(module, MahtNet)
    return module
