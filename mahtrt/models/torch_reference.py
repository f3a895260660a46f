"""Runs the PyTorch module itself: the reference that every engine is compared with."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mahtrt.cuda.device import gpu_label
from mahtrt.data.feed import Feed
from mahtrt.errors import require
from mahtrt.spec import ModelSpec
from mahtrt.targets.backend import Tensor

if TYPE_CHECKING:
    from torch import nn

Layout = Literal["contiguous", "channels_last"]


@dataclass(frozen=True, slots=True)
class TorchSetting:
    """How PyTorch runs a network; what it computes is the same but for rounding.

    Attributes:
        device: Device of PyTorch, ``cpu`` or ``cuda``.
        layout: Layout in memory of images and weights: channels first, or last.
        threads: CPU threads of one inference; None leaves PyTorch's own number.
    """

    device: str = "cpu"
    layout: Layout = "contiguous"
    threads: int | None = None

    def __str__(self) -> str:
        threads = f", threads {self.threads}" if self.threads is not None else ""
        return f"{self.layout} on {self.device}{threads}"


class TorchBackend:
    """Eager FP32 PyTorch, without TF32 where the device is a GPU.

    Args:
        module: Put into eval mode, and onto the setting's device in its layout. Returns a dict
            with the spec's output names as keys (others are ignored), or a tensor or sequence in
            the order of the spec's outputs.
        spec: Names the outputs.
        batch: Images per inference.
        setting: How to run it; None: as the module is, on the device it is on.
    """

    name = "torch-fp32"

    def __init__(
        self,
        module: nn.Module,
        spec: ModelSpec,
        batch: int = 1,
        setting: TorchSetting | None = None,
    ) -> None:
        self._torch: Any = require("torch", extra="export", needed_for="the PyTorch reference")
        self.batch = batch
        self.notes: tuple[str, ...] = ()
        from mahtrt.models.outputs import named_outputs  # imports torch
        from mahtrt.models.wrapping import device_of

        self._named_outputs = named_outputs
        self._spec = spec
        self._module = module.eval()
        self._threads = setting.threads if setting else None
        self._threads_before = self._torch.get_num_threads()
        self._where: dict[str, Any] = {"device": device_of(module)}
        if setting is not None:
            layouts = {
                "contiguous": self._torch.contiguous_format,
                "channels_last": self._torch.channels_last,
            }
            self._where = {"device": setting.device, "memory_format": layouts[setting.layout]}
            self._module.to(**self._where)
        self.device = device_label(self._torch, self._where["device"])
        if self.device.startswith("cuda"):
            self.device_ms = self._device_ms

    @property
    def threads(self) -> int | None:
        """Threads of one inference, as the process has them set."""
        return self._threads or int(self._torch.get_num_threads())

    def infer(self, feed: Feed, outputs: Sequence[str] | None = None) -> dict[str, Tensor]:
        """See :class:`mahtrt.targets.backend.Backend`.

        Raises:
            ModelError: The module does not return what the spec says.
        """
        torch = self._torch
        if self._threads not in (None, torch.get_num_threads()):
            torch.set_num_threads(self._threads)  # the whole process has one number
        # Inference mode belongs to the thread, so it is entered anew in every call.
        with torch.inference_mode(), whole_fp32(torch, self._where["device"]):
            tensors = [torch.from_numpy(feed[each.name]) for each in self._spec.inputs]
            result = self._module(*(tensor.to(**self._where) for tensor in tensors))
        named = self._named_outputs(result, self._spec)
        wanted = list(named) if outputs is None else outputs
        return {name: np.array(named[name].float().cpu().numpy(), order="C") for name in wanted}

    def _device_ms(self, feed: Feed) -> float:
        """See :class:`mahtrt.targets.backend.DeviceClock`."""
        torch = self._torch
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        with torch.inference_mode(), whole_fp32(torch, self._where["device"]):
            tensors = [torch.from_numpy(feed[each.name]) for each in self._spec.inputs]
            inputs = [tensor.to(**self._where) for tensor in tensors]
            begin.record()
            result = self._module(*inputs)
            end.record()
            end.synchronize()
            del result
        return float(begin.elapsed_time(end))

    def close(self) -> None:
        """See :class:`mahtrt.targets.backend.Backend`."""
        if self._threads is not None:
            self._torch.set_num_threads(self._threads_before)


def device_label(torch: Any, device: Any) -> str:
    """A device of PyTorch as reports name it: ``cpu``, ``cuda:0 NVIDIA H200``."""
    place = torch.device(device)
    if place.type != "cuda":
        return str(place.type)
    ordinal = torch.cuda.current_device() if place.index is None else place.index
    return gpu_label(ordinal, torch.cuda.get_device_name(ordinal))


# cuDNN's flags belong to the whole process.
_cudnn_flags = threading.Lock()


@contextlib.contextmanager
def whole_fp32(torch: Any, device: Any) -> Iterator[None]:
    """A GPU's convolutions at their fastest, in FP32: by default PyTorch rounds to TF32."""
    if not str(device).startswith("cuda"):
        yield
        return
    flags = {"enabled": True, "benchmark": True, "deterministic": False, "allow_tf32": False}
    with _cudnn_flags, torch.backends.cudnn.flags(**flags):
        yield
