"""How far each block moves each landmark when it alone is INT8, or half: matrices and their JSON.

Displacement is split in two, because they are mended differently: *bias*, the length of the mean
shift over the images (what bias correction takes away), and *spread*, the root mean square around
that shift (what better ranges or a float block take away).

Points whose heatmap is far wider than usual in the reference are counted, with their largest
displacement. As far as their heatmap excuses them (:mod:`mahtrt.measure.wide_heatmaps`) they are
left out of everything but the mean, which is over all points, as the accuracy gate counts.

Maps, labels and visibility have columns too: a cell's numbers are then in the unit of its target
(:mod:`mahtrt.measure.distances`), and bias is the mean difference over the images.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.atomic import write_text_atomic
from mahtrt.measure.displacement import compare_points, nearest_rank
from mahtrt.measure.distances import Target, Unit, common, unit_in_words
from mahtrt.measure.wide_heatmaps import WIDE, compare_widths

SCHEMA = "mahtrt.sensitivity/2"  # 1 knew INT8 alone

Floats = NDArray[np.floating]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Cell:
    """One landmark under one block in network pixels, or another target in its own unit.

    All but ``mean_px`` are over the points that are not excused.

    Attributes:
        mean_px: Mean displacement over all points; infinite where a point is not finite.
        bias_px: Length of the mean shift.
        spread_px: Root mean square around the mean shift.
        p99_px, max_px: Tail of the displacement; with fewer than 100 images p99 is the maximum.
        two_peaked: How many points have a wide heatmap.
        two_peaked_max_px: Their largest displacement, 0 without any.
        unit: Unit of the numbers, ``px`` of a landmark.
    """

    mean_px: float
    bias_px: float
    spread_px: float
    p99_px: float
    max_px: float
    two_peaked: int = 0
    two_peaked_max_px: float = 0.0
    unit: Unit = "px"


@dataclass(frozen=True, slots=True)
class BlockRow:
    """One block.

    Attributes:
        name: Name of the block.
        nodes: The products that were reduced.
        flops_share: Share of the graph's arithmetic.
        ruled_out: Why the rules keep it in floating point, "" where they do not.
        excluded: Whether the model's spec excludes it.
        cells: One per landmark, then one per other target.
    """

    name: str
    nodes: tuple[str, ...]
    flops_share: float
    ruled_out: str
    excluded: bool
    cells: tuple[Cell, ...]

    @property
    def mean_px(self) -> float:
        """Mean distance over the targets, in the unit of the matrix (:attr:`Sensitivity.unit`)."""
        return float(self.in_common("mean_px").mean())

    @property
    def worst_px(self) -> float:
        """Mean distance of the worst target, likewise."""
        return float(self.in_common("mean_px").max())

    def in_common(self, name: str) -> NDArray[np.float64]:
        """A field of every cell, in the unit of the matrix."""
        values = np.array([getattr(cell, name) for cell in self.cells], np.float64)
        return common(values, [cell.unit for cell in self.cells])


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The landmark x block matrix.

    Attributes:
        landmarks: Names of the columns: landmarks, then other targets.
        blocks: The rows of blocks in INT8, in the order of the graph; none where it was not
            measured.
        half_blocks: Those of blocks in half precision; none where it was not measured.
        half: ``bf16``, ``fp16``, or "" where it was not measured.
        images: How many images it was measured on.
        images_digest: SHA-256 over the preprocessed images.
        onnx_sha256: Digest of the graph.
        recipe: Digest of ranges, method and weight bits.
        method, weight_bits: Two of what is in it.
        two_peaks: The ratio of :data:`WIDE` it was made with.
    """

    landmarks: tuple[str, ...]
    blocks: tuple[BlockRow, ...]
    images: int
    images_digest: str
    onnx_sha256: str
    recipe: str
    method: str
    weight_bits: int
    half_blocks: tuple[BlockRow, ...] = ()
    half: str = ""
    two_peaks: float = WIDE
    schema: str = SCHEMA

    @property
    def unit(self) -> str:
        """Unit of what is said over all columns, in words: ``px``, for landmarks alone."""
        return unit_in_words(self.units)

    @property
    def units(self) -> tuple[Unit, ...]:
        """Units of the columns."""
        rows = self.blocks or self.half_blocks
        return tuple(cell.unit for cell in rows[0].cells) if rows else ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data; numbers that are not finite become None."""
        table = asdict(self)
        for row in (*table["blocks"], *table["half_blocks"]):
            for cell in row["cells"]:
                for name, value in cell.items():
                    cell[name] = value if isinstance(value, str) else _plain(value)
        return table

    def to_json(self) -> str:
        """Indented JSON: equal matrices give equal text."""
        return json.dumps(self.to_dict(), indent=1) + "\n"


def cells_of(shift_px: Floats, spread_px: Floats, cell_px: float) -> tuple[Cell, ...]:
    """The cells of one block.

    Args:
        shift_px: (N, K, 2) candidate minus reference, network pixels.
        spread_px: (N, K) spreads of the reference, NaN where unknown.
        cell_px: Side of a cell of the heatmaps.
    """
    moved = compare_points(shift_px, np.zeros_like(shift_px))  # (N, K)
    widths = compare_widths(moved, spread_px, spread_px, cell_px)
    wide, aside = widths.wide, widths.excused
    return tuple(
        _cell(shift_px[:, k], moved[:, k], wide[:, k], aside[:, k]) for k in range(moved.shape[1])
    )


def _cell(shift_px: Floats, moved: Floats, wide: Flags, aside: Flags) -> Cell:
    """One landmark's cell, from (N, 2), (N,), (N,) and (N,)."""
    count, most = int(wide.sum()), float(moved[wide].max()) if wide.any() else 0.0
    kept, shift = moved[~aside], np.asarray(shift_px[~aside], np.float64)
    if not np.isfinite(kept).all():
        return Cell(*(math.inf,) * 5, count, most)
    mean = shift.mean(axis=0)  # (2,)
    around = shift - mean
    return Cell(
        mean_px=float(moved.mean()),
        bias_px=float(np.hypot(*mean)),
        spread_px=float(np.sqrt((around**2).sum(axis=1).mean())),
        p99_px=nearest_rank(kept, 99),
        max_px=float(kept.max()),
        two_peaked=count,
        two_peaked_max_px=most,
    )


def other_cells(others: Floats, targets: Sequence[Target]) -> tuple[Cell, ...]:
    """The cells of targets that are no landmarks.

    Args:
        others: (N, T, 2) distances and shifts of the T targets.
    """
    return tuple(
        _other_cell(others[:, k, 0], others[:, k, 1], target) for k, target in enumerate(targets)
    )


def _other_cell(apart: Floats, shift: Floats, target: Target) -> Cell:
    if not np.isfinite(apart).all():
        return Cell(*(math.inf,) * 5, unit=target.unit)
    bias = abs(float(shift.mean()))
    around = max(0.0, float((apart**2).mean()) - bias**2)
    return Cell(
        mean_px=float(apart.mean()),
        bias_px=bias,
        spread_px=math.sqrt(around),
        p99_px=nearest_rank(apart, 99),
        max_px=float(apart.max()),
        unit=target.unit,
    )


def save_sensitivity(sensitivity: Sensitivity, path: Path) -> None:
    """Write a matrix to a JSON file, whole or not at all."""
    write_text_atomic(path, sensitivity.to_json())


def _plain(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def summary_rows(sensitivity: Sensitivity) -> list[Mapping[str, Any]]:
    """One plain row per block that can be INT8, the costliest first, as a terminal shows them.

    ``half_px`` is the mean distance with the block in half precision, None where not measured.
    """
    half_px = {row.name: row.mean_px for row in sensitivity.half_blocks}
    return [
        {
            "block": row.name,
            "mean_px": row.mean_px,
            "worst_px": row.worst_px,
            "worst_landmark": _worst(sensitivity.landmarks, row),
            "bias_px": float(row.in_common("bias_px").mean()),
            "spread_px": float(row.in_common("spread_px").mean()),
            "max_px": float(row.in_common("max_px").max()),
            "two_peaked": sum(c.two_peaked for c in row.cells),
            "ruled_out": row.ruled_out,
            "half_px": half_px.get(row.name),
        }
        for row in sorted(sensitivity.blocks, key=lambda row: -row.mean_px)
    ]


def _worst(landmarks: Sequence[str], row: BlockRow) -> str:
    return landmarks[int(row.in_common("mean_px").argmax())]
