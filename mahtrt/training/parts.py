"""The parameters of a network by its parts, and which of them a stage trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from mahtrt.training.recipe import Stage

# The part of parameters that no part of the network names.
REST = ""
WEIGHT_DECAY = 0.02
Parts = Mapping[str, tuple[str, ...]]


def parameter_groups(module: nn.Module, parts: Parts) -> list[dict[str, Any]]:
    """Groups for an optimiser, two per part: ``part`` says whose they are.

    Weight decay is on matrices and kernels, not on biases and normalisation.
    """
    by_part: dict[str, list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        by_part.setdefault(part_of(name, parts), []).append(parameter)
    groups: list[dict[str, Any]] = []
    for part, parameters in by_part.items():
        decayed = [p for p in parameters if p.ndim > 1]
        rest = [p for p in parameters if p.ndim <= 1]
        groups.append({"params": decayed, "part": part, "weight_decay": WEIGHT_DECAY})
        groups.append({"params": rest, "part": part, "weight_decay": 0.0})
    return [group for group in groups if group["params"]]


def part_of(name: str, parts: Parts) -> str:
    """The part that names a parameter or module by its prefix; :data:`REST` without one."""
    for part, prefixes in parts.items():
        if name.startswith(prefixes):
            return part
    return REST


def set_training(module: nn.Module, parts: Parts, stage: Stage) -> None:
    """Put a network into training mode; frozen parts keep their batch-norm statistics."""
    module.train()
    for submodule in _frozen_modules(module, parts, stage):
        submodule.eval()


def freeze(module: nn.Module, parts: Parts, stage: Stage) -> None:
    """Let gradients reach what a stage trains, and nothing else."""
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(stage.rates.get(part_of(name, parts), 1.0) > 0)


def _frozen_modules(module: nn.Module, parts: Parts, stage: Stage) -> Iterator[nn.Module]:
    frozen = {part for part, rate in stage.rates.items() if rate == 0}
    for name, submodule in module.named_modules() if frozen else ():
        if part_of(f"{name}.", parts) in frozen:
            yield submodule
