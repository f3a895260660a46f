"""The PyTorch reference: what a module may return, and its modes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tiny_network as tiny
import torch

from mahtrt.errors import ModelError
from mahtrt.runtime.torch_reference import TorchBackend, named_outputs

NAMES = ["landmarks", "heatmaps"]
ONE, TWO = torch.ones(1), torch.zeros(1)


@pytest.mark.parametrize(
    "result",
    [
        {"heatmaps": TWO, "landmarks": ONE, "auxiliary": ONE},
        (ONE, TWO),
        [ONE, TWO],
        (ONE, TWO, ONE),
    ],
    ids=["dict", "tuple", "list", "longer"],
)
def test_results_are_named(result: Any) -> None:
    named = named_outputs(result, NAMES)
    assert list(named) == NAMES
    assert named["landmarks"] is ONE
    assert named["heatmaps"] is TWO


def test_a_tensor_is_the_only_output() -> None:
    assert named_outputs(ONE, ["heatmaps"])["heatmaps"] is ONE


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({"landmarks": ONE}, "expected also heatmaps"),
        (ONE, "got Tensor; expected 2 tensor"),
        ((), "got nothing"),
        ((ONE, [TWO]), "got Tensor, list"),
        (None, "got NoneType"),
    ],
)
def test_other_results_are_refused(result: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        named_outputs(result, NAMES)


def test_it_runs_in_eval_and_inference_mode() -> None:
    class Module(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = torch.nn.BatchNorm2d(3)
            self.modes: list[bool] = []

        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
            self.modes += [self.training, not torch.is_inference_mode_enabled()]
            return tuple(self.norm(image).double() for _ in range(4))

    module = Module().train()
    backend = TorchBackend(module, tiny.SPEC, batch=2)
    outputs = backend.infer(np.ones((2, 3, 4, 4), np.float32), ["spread"])
    assert module.modes == [False, False]
    assert list(outputs) == ["spread"]
    assert outputs["spread"].dtype == np.float32
    outputs["spread"][:] = 0  # the caller's own
    backend.close()
