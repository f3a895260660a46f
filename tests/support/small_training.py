"""The smallest MAHT-Net that trains: a step takes a fraction of a second."""

from __future__ import annotations

from typing import Any

SMALL: dict[str, Any] = {
    "input_size": (64, 64),
    "hidden_dim": 24,
    "num_layers": 1,
    "num_heads": 2,
    "decoder_dims": (8, 8, 8, 8, 8),
    "head_dims": (8, 8),
}
