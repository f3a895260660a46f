"""Runs the PyTorch module itself: the reference that every engine is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mahtrt.errors import ModelError, require
from mahtrt.runtime.backend import Tensor
from mahtrt.spec import ModelSpec

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
        self._names = [output.name for output in spec.outputs]
        self._module = module.eval()
        parameter = next(module.parameters(), None)
        self._device = "cpu" if parameter is None else parameter.device

    def infer(self, tensor: Tensor, outputs: Sequence[str] | None = None) -> dict[str, Tensor]:
        """See :class:`mahtrt.runtime.backend.Backend`.

        Raises:
            ModelError: The module does not return what the spec says.
        """
        # Inference mode belongs to the thread, so it is entered anew in every call.
        with self._torch.inference_mode():
            result = self._module(self._torch.from_numpy(tensor).to(self._device))
        named = named_outputs(result, self._names)
        wanted = self._names if outputs is None else outputs
        return {name: np.array(named[name].float().cpu().numpy()) for name in wanted}

    def close(self) -> None:
        """See :class:`mahtrt.runtime.backend.Backend`."""


def named_outputs(result: Any, names: Sequence[str]) -> dict[str, Any]:
    """What a module returned, by the spec's names: dicts by key, the rest by order.

    Raises:
        ModelError: A key is missing, or there are too few tensors.
    """
    if isinstance(result, Mapping):
        missing = [name for name in names if name not in result]
        if missing:
            raise ModelError(
                "the module's result",
                got=f"keys {', '.join(map(str, result))}",
                expected=f"also {', '.join(missing)}, as the spec says",
            )
        return {name: result[name] for name in names}
    tensors = list(result) if isinstance(result, (list, tuple)) else [result]
    if len(tensors) < len(names) or not all(hasattr(item, "shape") for item in tensors):
        kinds = ", ".join(type(item).__name__ for item in tensors)
        raise ModelError(
            "the module's result",
            got=kinds or "nothing",
            expected=f"{len(names)} tensor(s) for {', '.join(names)}",
        )
    return dict(zip(names, tensors, strict=False))
