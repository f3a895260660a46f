"""The verb ``models``: parameters and arithmetic of every variant."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from mahtrt.models.families import build_model, model_names
from mahtrt.progress import StageProgress, silent


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


def models(progress: StageProgress = silent) -> tuple[ModelSummary, ...]:
    """Every variant with its size; nothing is computed, the networks are only shapes.

    Raises:
        MissingComponentError: PyTorch, or another package that a family needs, is not installed.
    """
    names, found = model_names(), []
    for done, name in enumerate(names):
        progress("counting", done, len(names))
        found.append(summarize(name))
    return tuple(found)


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
