"""Soft-argmax: landmarks, confidence and spread from heatmaps.

Written with marginal sums instead of a matrix product: engines lower a MatMul's precision, and a
coordinate of hundreds of pixels does not survive that. Multiply and ReduceSum stay FP32.

The weights of a softmax over many cells do not sum to 1 exactly: over 256x256 of them by some
1e-5, and counted from the corner that times the coordinate is an error of up to 0.01 pixels. So
positions are counted from the middle of the map, and the mean is taken twice: the second time of
the distances to the first, where the same relative error is one of almost nothing.
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
        self.register_buffer("x_px", _from_the_middle_px(columns, width), persistent=False)
        self.register_buffer("y_px", _from_the_middle_px(rows, height), persistent=False)
        # Pixel centres are at integers.
        middle = torch.tensor([(width - 1) / 2, (height - 1) / 2])
        self.register_buffer("middle_px", middle, persistent=False)

    x_px: Tensor  # (w,), from the middle of the map
    y_px: Tensor  # (h,)
    middle_px: Tensor  # (2,) as x, y in the network's input

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
        return torch.cat((x, y), dim=-1) + self.middle_px, cells.amax(dim=-1), spread


def _from_the_middle_px(cells: int, pixels: int) -> Tensor:
    """Positions (cells,) of the heatmap's cell centres, in pixels from the middle of the input."""
    centres = torch.arange(cells, dtype=torch.float64) + 0.5
    return (centres * (pixels / cells) - pixels / 2).float()


def _moments(weights: Tensor, positions_px: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (B, K, 1) and centred second moment (B, K) of positions (n,) under weights (B, K, n)."""
    first = (weights * positions_px).sum(dim=-1, keepdim=True)
    offset = positions_px - first
    weighted = weights * offset
    return first + weighted.sum(dim=-1, keepdim=True), (weighted * offset).sum(dim=-1)
