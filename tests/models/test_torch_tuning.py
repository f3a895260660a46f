"""PyTorch in the layout, and with the threads, that are fastest."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import tiny_network as tiny
import torch
from bench_fakes import make_spec

from mahtrt.models import torch_tuning
from mahtrt.models.reference import ModelSource, load_model
from mahtrt.models.torch_reference import TorchBackend, TorchSetting
from mahtrt.models.torch_tuning import tune_torch

SPEC = make_spec()


@pytest.fixture(autouse=True)
def _rounds_that_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as outside of tests: here it matters which setting is the fastest."""
    monkeypatch.setattr(torch_tuning, "ROUNDS", 15)


class Slow(torch.nn.Module):
    """A convolution that is slow in one layout, or does not take channels last at all."""

    def __init__(self, slow: str, *, takes_both: bool = True) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 3, 3)
        self.slow, self.takes_both = slow, takes_both

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps = self.conv(image)
        turned = not maps.is_contiguous()
        if turned and not self.takes_both:
            maps.view(-1)
        time.sleep(0.02 if turned == (self.slow == "channels_last") else 0)
        return maps.flatten(2).mean(2)[..., None].expand(-1, -1, 2)


@pytest.mark.parametrize("slow", ["contiguous", "channels_last"])
def test_the_faster_layout_is_taken(slow: str) -> None:
    found = tune_torch(Slow(slow), SPEC, 1, TorchSetting())
    assert found.setting.layout != slow
    assert found.setting.threads is not None  # named, whichever it is
    times_ms = {name: ms for name, ms in found.tried_ms.items() if name.startswith(slow)}
    assert min(times_ms.values()) > max(found.tried_ms[str(found.setting)], 20)


def test_code_that_takes_one_layout_keeps_it() -> None:
    found = tune_torch(Slow("contiguous", takes_both=False), SPEC, 1, TorchSetting(threads=1))
    assert found.setting == TorchSetting(threads=1)
    assert list(found.tried_ms) == ["contiguous on cpu, threads 1"]


@pytest.mark.parametrize("refuses", [True, False])
def test_code_that_goes_wrong_with_channels_last_keeps_its_layout(refuses: bool) -> None:
    class Particular(Slow):
        """Refuses one layout in its own words, or computes other numbers in it."""

        def __init__(self) -> None:
            super().__init__("contiguous")
            self.mix = torch.nn.Conv2d(3, 3, 3)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            turned = not self.mix.weight.is_contiguous()
            assert not (turned and refuses), "needs channels first"
            return super().forward(image) + float(turned)

    assert tune_torch(Particular(), SPEC, 1, TorchSetting()).setting.layout == "contiguous"


def test_the_fastest_number_of_threads_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    class SlowWithThreads(Slow):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            time.sleep(0.005 * torch.get_num_threads())
            return super().forward(image)

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    monkeypatch.setattr(torch_tuning, "thread_counts", lambda default: [1, 2])
    try:
        module = SlowWithThreads("contiguous", takes_both=False)
        found = tune_torch(module, SPEC, 1, TorchSetting())
        assert found.setting.threads == 1
        assert [name[-1] for name in found.tried_ms] == ["3", "1", "2"]
        assert torch.get_num_threads() == 3  # as it was
        found.backend.infer({"image": np.zeros((1, 1, 32, 32), np.float32)})
        assert torch.get_num_threads() == found.backend.threads == 1
        found.backend.close()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


class Named(torch.nn.Module):
    """Outputs of every rank, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 5, 3)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        maps = self.conv(image)
        flat = maps.flatten(2)
        return {
            "landmarks": flat[..., :2],
            "confidence": flat.amax(2),
            "spread": flat.std(2),
            "heatmaps": maps,
        }


@pytest.mark.slow
def test_a_real_network_is_tried_in_both_layouts() -> None:
    module, spec = load_model(ModelSource("maht-net/nano", Path("demo")))
    found = tune_torch(module, spec, 1, TorchSetting(threads=1))
    assert {name.partition(" ")[0] for name in found.tried_ms} == {"contiguous", "channels_last"}


def test_both_layouts_compute_the_same() -> None:
    feed = {"image": np.random.default_rng(0).standard_normal((2, 3, 16, 24), np.float32)}
    module = Named()
    first = TorchBackend(module, tiny.SPEC, 2, TorchSetting()).infer(feed)
    turned = TorchBackend(module, tiny.SPEC, 2, TorchSetting(layout="channels_last")).infer(feed)
    assert list(turned) == list(first)
    for name, values in first.items():
        assert turned[name].flags.c_contiguous
        np.testing.assert_allclose(turned[name], values, rtol=1e-5, atol=1e-6)
