"""DARK in a graph: :mod:`mahtrt.runtime.dark`, which defines it, with operators of static shape.

The Gaussian is two depthwise convolutions, one along each axis. Only they and the highest value of
each row and column look at whole heatmaps. What follows works on one row or nine cells per
landmark: logarithms, the Taylor step, the search for the first cell of the peak, by minima over
indices, since an ArgMax may take any of equal cells. With 20 x 512 x 512 cells (spine/query, two
Zen 4 cores) that is 4% of the time in ONNX Runtime, 6% in OpenVINO, and 15% there beside BF16.

It stays FP32 whatever the precision around it. As its convolutions are products like any other,
the module has to have the name :data:`mahtrt.spec.DECODING` in its network: by that, plans, islands
and targets leave it alone.
"""

from __future__ import annotations

import math
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mahtrt.errors import ModelError
from mahtrt.runtime.dark import (
    LEAST_CURVATURE,
    LEAST_FRACTION,
    LEAST_SIDE,
    MOST_STEP,
    STANDS_OUT,
    TIE,
    gaussian_kernel,
)

# Keeps a division finite where nothing is above 0; what comes of it is not used.
_LEAST_PEAK = 1e-30
_COLUMN_PIECE = 32  # cells, at most
# Central differences over nine cells: along x and y, twice along x, twice along y, along both.
_STENCILS = (
    ((0.0, 0.0, 0.0), (-0.5, 0.0, 0.5), (0.0, 0.0, 0.0)),
    ((0.0, -0.5, 0.0), (0.0, 0.0, 0.0), (0.0, 0.5, 0.0)),
    ((0.0, 0.0, 0.0), (1.0, -2.0, 1.0), (0.0, 0.0, 0.0)),
    ((0.0, 1.0, 0.0), (0.0, -2.0, 0.0), (0.0, 1.0, 0.0)),
    ((0.25, 0.0, -0.25), (0.0, 0.0, 0.0), (-0.25, 0.0, 0.25)),
)


class Dark2d(nn.Module):
    """The smoothed peak of each heatmap, refined by a Taylor step on the logarithm.

    Gradients do not pass: such networks are trained on their heatmaps.

    Args:
        sigma: Standard deviation in cells of the Gaussians that the network is trained on.
        heatmap_size: (h, w) of the heatmaps, static.
        input_size: (H, W) of the network's input, the frame of the landmarks.

    Raises:
        ModelError: Heatmaps of fewer than three cells on a side.
    """

    def __init__(
        self, sigma: float, heatmap_size: tuple[int, int], input_size: tuple[int, int]
    ) -> None:
        super().__init__()
        rows, columns = heatmap_size
        if min(heatmap_size) < LEAST_SIDE:
            raise ModelError(
                "heatmaps",
                got=f"{rows}x{columns} cells",
                expected=f"at least {LEAST_SIDE} on each side for decode.method dark",
            )
        self.heatmap_size = heatmap_size
        scale = torch.tensor([input_size[1] / columns, input_size[0] / rows])
        # Not in the state dict: they follow from the settings, and checkpoints stay loadable.
        kernel = torch.from_numpy(gaussian_kernel(sigma)).float()
        self.register_buffer("kernel", kernel, persistent=False)
        stencils = torch.tensor(_STENCILS).reshape(5, 9)
        self.register_buffer("stencils", stencils, persistent=False)
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("row_numbers", torch.arange(rows).float(), persistent=False)
        self.register_buffer("column_numbers", torch.arange(columns).float(), persistent=False)

    kernel: Tensor  # (n,)
    stencils: Tensor  # (5, 9)
    scale: Tensor  # (2,) pixels per cell along x and y
    row_numbers: Tensor  # (h,)
    column_numbers: Tensor  # (w,)

    def forward(self, heatmaps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read landmarks from heatmaps, in float32 whatever the heatmaps' dtype.

        Args:
            heatmaps: (B, K, h, w).

        Returns:
            Landmarks (B, K, 2) as x, y in network pixels; confidence (B, K), the heatmap's highest
            value; spread (B, K) in network pixels.
        """
        kind = heatmaps.device.type
        lowered = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
        with torch.autocast(kind, enabled=False) if lowered else nullcontext():
            return self._decode(heatmaps.detach().float())

    def _decode(self, heatmaps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        smoothed = self._smooth(heatmaps)
        row_peaks = smoothed.amax(dim=3)  # (B, K, h)
        # A maximum down whole columns is slow in ONNX Runtime; pieces of them first are not.
        pieces = F.max_pool2d(smoothed, (math.gcd(self.heatmap_size[0], _COLUMN_PIECE), 1))
        column_peaks = pieces.amax(dim=2)  # (B, K, w)
        peak = row_peaks.amax(dim=2, keepdim=True)  # (B, K, 1)
        cell, around = self._peak_cell(smoothed, row_peaks, peak)
        points = (cell + self._step(cell, around, peak) + 0.5) * self.scale - 0.5
        deviations = torch.stack(
            (
                _deviation(column_peaks, peak, self.column_numbers),
                _deviation(row_peaks, peak, self.row_numbers),
            ),
            dim=-1,
        )  # (B, K, 2)
        deviations = deviations * self.scale
        spread = (deviations * deviations).sum(dim=-1).sqrt()
        return points, heatmaps.amax(dim=3).amax(dim=2), spread

    def _smooth(self, heatmaps: Tensor) -> Tensor:
        count, length = heatmaps.shape[1], len(self.kernel)
        down = self.kernel.reshape(1, 1, length, 1).expand(count, 1, length, 1)
        across = self.kernel.reshape(1, 1, 1, length).expand(count, 1, 1, length)
        smoothed = F.conv2d(heatmaps, down, padding=(length // 2, 0), groups=count)
        return F.conv2d(smoothed, across, padding=(0, length // 2), groups=count)

    def _peak_cell(
        self, smoothed: Tensor, row_peaks: Tensor, peak: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The peak's cell as x, y (B, K, 2), and the values around it (B, K, 3, 3).

        At the border, where there is no step, the values are those around its neighbour inside.
        """
        batch, count, (rows, columns) = *smoothed.shape[:2], self.heatmap_size
        least = peak - TIE * peak.abs()
        y = _first(row_peaks >= least, self.row_numbers)  # (B, K)
        below_zero = torch.arange(-1, 2, device=smoothed.device)  # -1, 0, 1
        maps = torch.arange(batch * count, device=smoothed.device)

        # Three rows of each map, out of all maps below each other.
        middle = y.reshape(-1).clamp(1, rows - 2).long()
        chosen = (maps * rows + middle).unsqueeze(1) + below_zero  # (B*K, 3)
        at_border = maps * rows + y.reshape(-1).long()
        every_row = smoothed.reshape(batch * count * rows, columns)
        row = every_row.index_select(0, at_border)  # (B*K, w)
        x = _first(row >= least.reshape(-1, 1), self.column_numbers).reshape(batch, count)

        # Nine cells of them, out of all cells behind each other.
        three_rows = every_row.index_select(0, chosen.reshape(-1)).reshape(-1)
        middle = x.reshape(-1).clamp(1, columns - 2).long()
        starts = torch.arange(3 * batch * count, device=smoothed.device) * columns
        cells = starts.reshape(-1, 3, 1) + (middle.unsqueeze(1) + below_zero).unsqueeze(1)
        around = three_rows.index_select(0, cells.reshape(-1)).reshape(batch, count, 3, 3)
        return torch.stack((x, y), dim=-1), around

    def _step(self, cell: Tensor, around: Tensor, peak: Tensor) -> Tensor:
        """From the peak's cell (B, K, 2) to the landmark, in cells."""
        middle = around[..., 1:2, 1:2].clamp(min=_LEAST_PEAK)
        logs = (around / middle).clamp(min=LEAST_FRACTION).log()
        derivatives = (logs.flatten(2).unsqueeze(2) * self.stencils).sum(dim=-1)  # (B, K, 5)
        gx, gy, xx, yy, xy = derivatives.unbind(dim=-1)

        half_difference = (xx - yy) / 2
        root = (half_difference * half_difference + xy * xy).sqrt()
        largest = (xx + yy) / 2 + root  # eigenvalue
        rows, columns = self.heatmap_size
        x, y = cell[..., 0], cell[..., 1]
        inside = (x > 0) & (x < columns - 1) & (y > 0) & (y < rows - 1)
        steps = (largest < -LEAST_CURVATURE) & inside & (peak[..., 0] > 0)

        determinant = torch.where(steps, xx * yy - xy * xy, torch.ones_like(xx))
        dx, dy = (xy * gy - yy * gx) / determinant, (xy * gx - xx * gy) / determinant
        step = torch.stack((dx, dy), dim=-1).clamp(-MOST_STEP, MOST_STEP)
        return torch.where(steps.unsqueeze(-1), step, torch.zeros_like(step))


def _first(holds: Tensor, numbers: Tensor) -> Tensor:
    """The first of the numbers (n,) that holds (…, n); somewhere one does."""
    beyond = torch.full_like(numbers, len(numbers))
    return torch.where(holds, numbers, beyond).amin(dim=-1)


def _deviation(highest: Tensor, peak: Tensor, numbers: Tensor) -> Tensor:
    """Standard deviation (B, K) of positions (n,) under what stands out of (B, K, n)."""
    standing_out = (highest / peak.clamp(min=_LEAST_PEAK) - STANDS_OUT).clamp(min=0)
    weights = torch.where(peak > 0, standing_out, torch.ones_like(standing_out))
    weights = weights / weights.sum(dim=-1, keepdim=True)
    offset = numbers - (weights * numbers).sum(dim=-1, keepdim=True)
    offset = offset - (weights * offset).sum(dim=-1, keepdim=True)
    return (weights * offset * offset).sum(dim=-1).sqrt()
