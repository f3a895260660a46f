"""Which layout and number of threads PyTorch runs a network fastest with, by measuring.

A ratio against PyTorch says something only where PyTorch is at its best: convolutions are often
faster with channels last, and small networks with fewer threads than there are cores.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.feed import Feed
from mahtrt.machine import thread_counts
from mahtrt.measure.timing import TimingOptions, interleave
from mahtrt.models.torch_reference import Layout, TorchBackend, TorchSetting
from mahtrt.spec import ModelSpec

if TYPE_CHECKING:
    from torch import nn

ROUNDS, SECONDS = 15, 8.0
# Share of an output's largest value by which layouts may differ: kernels sum in other orders, which
# counts for more on noise (0.002 of a heatmap's peak) than on images (0.00006 px of a landmark).
_NEAR = 0.01


@dataclass(frozen=True, slots=True)
class TunedTorch:
    """PyTorch at its best.

    Attributes:
        tried_ms: p50 of each setting that was measured, by its name.
    """

    backend: TorchBackend
    setting: TorchSetting
    tried_ms: Mapping[str, float]


def tune_torch(module: nn.Module, spec: ModelSpec, batch: int, given: TorchSetting) -> TunedTorch:
    """The fastest of both layouts, each with every number of threads worth trying.

    Args:
        module: Put onto the device of ``given``, in eval mode.
        batch: Images per inference.
        given: The device, and the number of threads where the user says it; then only layouts are
            tried.
    """
    import torch

    own_threads = torch.get_num_threads()
    try:
        kept, tried, best = _fastest(module, spec, batch, given)
    finally:
        torch.set_num_threads(own_threads)  # the process has one number, and others use it too
    names = {str(setting): round(p50_ms, 3) for setting, p50_ms in tried.items()}
    return TunedTorch(TorchBackend(kept, spec, batch, best), best, names)


def _fastest(
    module: nn.Module, spec: ModelSpec, batch: int, given: TorchSetting
) -> tuple[nn.Module, dict[TorchSetting, float], TorchSetting]:
    """The module in the layout that won, p50 of every setting, and the best setting."""
    modules = _in_both_layouts(module, spec, batch, given)
    backends = {
        each: TorchBackend(modules[each.layout], spec, batch, each)
        for layout in modules
        for each in (replace(given, layout=layout, threads=n) for n in _thread_counts(given))
    }
    tried = _times_ms(backends, spec, batch)
    best = min(tried, key=tried.__getitem__)
    return modules[best.layout], tried, best


def _thread_counts(given: TorchSetting) -> list[int | None]:
    """As the user says it; else PyTorch's own, and others worth trying on a CPU."""
    import torch

    if given.threads is not None or given.device != "cpu":
        return [given.threads]
    return [torch.get_num_threads(), *thread_counts(torch.get_num_threads())]


def _in_both_layouts(
    module: nn.Module, spec: ModelSpec, batch: int, given: TorchSetting
) -> dict[Layout, nn.Module]:
    """The module, and a copy with channels last where its code takes that."""
    feed = _some_input(spec, batch)
    # Errors of the module itself are not about layouts, and come from here.
    usual = TorchBackend(module, spec, batch, given).infer(feed)
    try:
        turned = copy.deepcopy(module)
        setting = replace(given, layout="channels_last")
        other = TorchBackend(turned, spec, batch, setting).infer(feed)
    except Exception:  # whatever foreign code says of a layout, or of being copied
        return {"contiguous": module}
    # Landmarks are held against what this computes.
    if not all(_is_near(other[name], usual[name]) for name in usual):
        return {"contiguous": module}
    return {"contiguous": module, "channels_last": turned}


def _is_near(other: NDArray[np.float32], usual: NDArray[np.float32]) -> bool:
    largest = float(np.abs(usual).max(initial=0.0))
    return bool(np.abs(other - usual).max(initial=0.0) <= _NEAR * largest)


def _times_ms(
    backends: Mapping[TorchSetting, TorchBackend], spec: ModelSpec, batch: int
) -> dict[TorchSetting, float]:
    """p50 of each, in interleaved rounds."""
    feed = _some_input(spec, batch)
    by_name = {str(setting): setting for setting in backends}
    calls = {
        name: functools.partial(backends[setting].infer, feed) for name, setting in by_name.items()
    }
    timings = interleave(calls, TimingOptions(1, ROUNDS, max_seconds=SECONDS))
    return {by_name[name]: found.p50_ms for name, found in timings.items()}


def _some_input(spec: ModelSpec, batch: int) -> Feed:
    """The values do not matter: no kernel of these networks is faster for some of them."""
    rng = np.random.default_rng(0)
    return {
        each.name: rng.standard_normal((batch, each.channels, *each.size), np.float32)
        for each in spec.inputs
    }
