"""What ``mahtrt models`` lists: parameters and arithmetic of every variant."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mahtrt.models.families import build_model, model_names

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """One variant.

    Attributes:
        gflops: 1e9 floating-point operations per image, a multiply-add counted as two.
    """

    name: str
    encoder: str
    transformer: str
    input_size: tuple[int, int]
    parameters: int
    gflops: float

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def summaries(progress: Callable[[int, int], None] | None = None) -> list[ModelSummary]:
    """A row per variant; nothing is computed, the networks are only shapes."""
    names = model_names()
    rows = []
    for done, name in enumerate(names):
        if progress:
            progress(done, len(names))
        rows.append(summarize(name))
    return rows


def summarize(name: str) -> ModelSummary:
    """Count a variant on PyTorch's meta device."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        module = build_model(name).eval()
        image = torch.empty(1, module.spec.input.channels, *module.spec.input.size)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        module(image)
    config = module.spec.config
    return ModelSummary(
        name=name,
        encoder=str(config.get("encoder", "")),
        transformer=str(config.get("transformer", "")),
        input_size=module.spec.input.size,
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        gflops=round(counter.get_total_flops() / 1e9, 2),
    )


def summary_table(rows: list[ModelSummary]) -> Table:
    """The rows for a terminal."""
    from rich.table import Table

    table = Table()
    for column in ("model", "encoder", "transformer", "input"):
        table.add_column(column)
    for column in ("parameters", "GFLOPs"):
        table.add_column(column, justify="right")
    for row in rows:
        size = f"{row.input_size[0]}x{row.input_size[1]}"
        table.add_row(
            row.name,
            row.encoder,
            row.transformer,
            size,
            f"{row.parameters / 1e6:.1f} M",
            f"{row.gflops:.1f}",
        )
    return table
