"""Soft-argmax: landmarks, confidence and spread from heatmaps.

Written with marginal sums instead of a matrix product: engines lower a MatMul's precision, and a
coordinate of hundreds of pixels does not survive that. Multiply and ReduceSum stay FP32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Keeps the gradient of the square root finite where a softmax is one single cell.
_MIN_VARIANCE_PX2 = 1e-12


class SoftArgmax2d(nn.Module):
    """Expectation of the pixel position under a softmax over each heatmap.

    The heatmaps may hold anything the network gives: sigmoid maps in [0, 1], or logits.

    Args:
        temperature: Divides the heatmaps before the softmax; small is sharp. Over maps in [0, 1]
            a temperature of 1 gives the centre of the map, whatever the map shows.
        heatmap_size: (h, w) of the heatmaps, static.
        input_size: (H, W) of the network's input, the frame of the landmarks.
    """

    def __init__(
        self, temperature: float, heatmap_size: tuple[int, int], input_size: tuple[int, int]
    ) -> None:
        super().__init__()
        self.temperature = float(temperature)
        self.heatmap_size = heatmap_size
        (rows, columns), (height, width) = heatmap_size, input_size
        # Not in the state dict: they follow from the sizes, and checkpoints stay loadable.
        self.register_buffer("x_px", _cell_centres_px(columns, width), persistent=False)
        self.register_buffer("y_px", _cell_centres_px(rows, height), persistent=False)

    x_px: Tensor  # (w,)
    y_px: Tensor  # (h,)

    def forward(self, heatmaps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read landmarks from heatmaps, in float32 whatever the heatmaps' dtype.

        Args:
            heatmaps: (B, K, h, w).

        Returns:
            Landmarks (B, K, 2) as x, y in network pixels; confidence (B, K), the heatmap's
            highest value, which is in [0, 1] for sigmoid maps; spread (B, K) in network pixels,
            the standard deviation of the position under the softmax.
        """
        batch, count = heatmaps.shape[:2]
        rows, columns = self.heatmap_size
        # Autocast lowers none of the operations below once their input is float32.
        cells = heatmaps.float().reshape(batch, count, rows * columns)  # (B, K, h*w)
        weights = torch.softmax(cells / self.temperature, dim=-1)
        weights = weights.reshape(batch, count, rows, columns)  # (B, K, h, w)
        x, var_x = _moments(weights.sum(dim=2), self.x_px)
        y, var_y = _moments(weights.sum(dim=3), self.y_px)
        spread = (var_x + var_y).clamp(min=_MIN_VARIANCE_PX2).sqrt()
        return torch.stack((x, y), dim=-1), cells.amax(dim=-1), spread


def _cell_centres_px(cells: int, pixels: int) -> Tensor:
    """Positions (cells,) of the heatmap's cell centres on an axis of the network's input."""
    return ((torch.arange(cells, dtype=torch.float64) + 0.5) * (pixels / cells) - 0.5).float()


def _moments(weights: Tensor, positions_px: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and centred second moment (B, K) of positions (n,) under weights (B, K, n)."""
    mean = (weights * positions_px).sum(dim=-1)
    offset = positions_px - mean.unsqueeze(-1)
    return mean, (weights * offset * offset).sum(dim=-1)
