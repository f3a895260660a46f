"""A user's PyTorch module inside a wrapper of mahtrt's: its name there, its mode, its device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mahtrt.spec import ModelSpec

# The attribute of a wrapper that holds the user's module; not part of any scope in a graph.
WRAPPED = "mahtrt_wrapped"


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """The module in eval mode; every submodule's own mode is put back afterwards."""
    modes = [(submodule, submodule.training) for submodule in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for submodule, training in modes:
            submodule.training = training


def device_of(module: nn.Module) -> torch.device:
    """Where the weights are; the CPU where there are none."""
    first = next(iter(module.state_dict(keep_vars=True).values()), None)
    return first.device if first is not None else torch.device("cpu")


def empty_images(spec: ModelSpec, batch: int, device: torch.device) -> tuple[Tensor, ...]:
    """Zeros for every input of a network, (B, C, H, W) each, in the order of the spec."""
    return tuple(
        torch.zeros(batch, each.channels, *each.size, device=device) for each in spec.inputs
    )
