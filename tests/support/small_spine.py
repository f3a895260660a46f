"""The network for spines, as small as it can be with all its parts."""

from __future__ import annotations

from typing import Any

import torch

from mahtrt.models.families import build_model
from mahtrt.models.spine.spine import SpineNet

SMALL: dict[str, Any] = {
    "input_size": (64, 96),
    "landmarks": ("a", "b", "c"),
    "width": 32,
    "num_heads": 2,
    "bridge_layers": 1,
    "query_layers": 1,
    "decoder_dims": (16, 12, 10, 8),
}


def small_spine(variant: str = "nano", **settings: Any) -> SpineNet:
    """A variant with seeded random weights, in training mode, for (64, 96) images."""
    torch.manual_seed(0)
    module = build_model(f"spine/{variant}", **{**SMALL, **settings})
    assert isinstance(module, SpineNet)
    return module
