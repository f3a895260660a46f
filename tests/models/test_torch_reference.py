"""The PyTorch reference: its modes, and a module that returns something else."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_network as tiny
import torch

from mahtrt.errors import ModelError
from mahtrt.models.torch_reference import TorchBackend


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
    outputs = backend.infer({"image": np.ones((2, 3, 4, 4), np.float32)}, ["spread"])
    assert module.modes == [False, False]
    assert list(outputs) == ["spread"]
    assert outputs["spread"].dtype == np.float32
    outputs["spread"][:] = 0  # the caller's own
    backend.close()


def test_a_module_that_returns_too_little_is_refused() -> None:
    backend = TorchBackend(torch.nn.Identity(), tiny.SPEC)
    with pytest.raises(ModelError, match="got 1 value"):
        backend.infer({"image": np.ones((1, 3, 4, 4), np.float32)})
