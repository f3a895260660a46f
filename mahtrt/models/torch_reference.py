"""Runs the PyTorch module itself: the reference that every engine is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mahtrt.errors import require
from mahtrt.spec import ModelSpec
from mahtrt.targets.backend import Tensor

if TYPE_CHECKING:
    from torch import nn


class TorchBackend:
    """Eager FP32 PyTorch on the device the module is on.

    Args:
        module: Put into eval mode. Returns a dict with the spec's output names as keys (others
            are ignored), or a tensor or sequence in the order of the spec's outputs.
        spec: Names the outputs.
        batch: Images per inference.
    """

    name = "torch-fp32"

    def __init__(self, module: nn.Module, spec: ModelSpec, batch: int = 1) -> None:
        self._torch: Any = require("torch", extra="export", needed_for="the PyTorch reference")
        self.batch = batch
        self.notes: tuple[str, ...] = ()
        from mahtrt.models.outputs import named_outputs  # imports torch

        self._named_outputs = named_outputs
        self._spec = spec
        self._module = module.eval()
        parameter = next(module.parameters(), None)
        self._device = "cpu" if parameter is None else parameter.device

    @property
    def threads(self) -> int | None:
        """Threads of one inference, as the process has them set."""
        return int(self._torch.get_num_threads())

    def infer(self, tensor: Tensor, outputs: Sequence[str] | None = None) -> dict[str, Tensor]:
        """See :class:`mahtrt.targets.backend.Backend`.

        Raises:
            ModelError: The module does not return what the spec says.
        """
        # Inference mode belongs to the thread, so it is entered anew in every call.
        with self._torch.inference_mode():
            result = self._module(self._torch.from_numpy(tensor).to(self._device))
        named = self._named_outputs(result, self._spec)
        wanted = list(named) if outputs is None else outputs
        return {name: np.array(named[name].float().cpu().numpy()) for name in wanted}

    def close(self) -> None:
        """See :class:`mahtrt.targets.backend.Backend`."""
