"""The four outputs of every network whose landmarks are read from its heatmaps."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from mahtrt.spec import OutputSpec

HEATMAP_OUTPUTS = (
    OutputSpec("landmarks", "landmarks", frame="network"),
    OutputSpec("confidence", "confidence"),
    OutputSpec("spread", "spread", frame="network"),
    OutputSpec("heatmaps", "heatmaps"),
)


def heatmap_outputs(
    heatmaps: Tensor, decode: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
) -> dict[str, Tensor]:
    """What a network gives for heatmaps (B, K, h, w), by the names of :data:`HEATMAP_OUTPUTS`.

    Args:
        decode: Module that reads landmarks (B, K, 2) in network pixels, confidence (B, K) and
            spread (B, K) in network pixels from them.
    """
    landmarks, confidence, spread = decode(heatmaps)
    return {
        "landmarks": landmarks,
        "confidence": confidence,
        "spread": spread,
        "heatmaps": heatmaps,
    }
