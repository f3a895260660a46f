"""PyTorch as its users run it fast: what engines are measured beside.

On a GPU FP32 is computed without TF32, as the reference is. In FP16 weights and layers are half
precision and the decoding stays FP32, as far as the network's code lets it: its coordinates have no
room in FP16. On a CPU half precision is slow, so channels last and ``torch.compile`` compute in
FP32 there. BF16 by autocast is on both what PyTorch's own documentation recommends.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mahtrt.data.feed import Feed
from mahtrt.errors import MissingComponentError, require
from mahtrt.models.torch_reference import Layout, device_label, whole_fp32
from mahtrt.runtime.peer import PeerSetting
from mahtrt.spec import ModelSpec
from mahtrt.targets.backend import Tensor

if TYPE_CHECKING:
    from torch import nn

WARM_UPS = 3  # torch.compile records its CUDA graphs in the second call
Made = tuple[Callable[..., Any], dict[str, str]]  # what is called, and how it runs, in words
Maker = Callable[["nn.Module", Sequence[Any], "PeerSetting"], Made]


class TorchPeerBackend:
    """A PyTorch network as one of the peers runs it; see :class:`mahtrt.targets.backend.Backend`.

    Args:
        call: The network, compiled or not, on the device.
        dtype, layout: Type and memory format of the images.
    """

    def __init__(
        self,
        call: Callable[..., Any],
        spec: ModelSpec,
        setting: PeerSetting,
        how: PeerInput,
        facts: Mapping[str, str],
    ) -> None:
        import torch

        from mahtrt.models.outputs import named_outputs

        self.name, self.batch, self.notes = "torch", setting.batch, ()
        self.device = device_label(torch, setting.device)
        self.facts = {**facts, "images": "prepared on the CPU"}
        self._torch, self._call, self._spec = torch, call, spec
        self._setting, self._how, self._named_outputs = setting, how, named_outputs
        self._events: tuple[Any, Any] | None = None
        if torch.device(setting.device).type == "cuda":
            self._events = tuple(torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[assignment]
            self.device_ms = self._device_ms

    @property
    def threads(self) -> int | None:
        """See :class:`mahtrt.targets.backend.Backend`."""
        on_gpu = self._events is not None
        return None if on_gpu else self._setting.threads or int(self._torch.get_num_threads())

    def infer(self, feed: Feed, outputs: Sequence[str] | None = None) -> dict[str, Tensor]:
        """See :class:`mahtrt.targets.backend.Backend`."""
        with self._computing():
            named = self._named_outputs(self._call(*self._inputs(feed)), self._spec)
            wanted = list(named) if outputs is None else outputs
            # Copied before the next call: a CUDA graph writes its outputs to the same place again.
            arrays = {name: named[name].float().cpu().numpy() for name in wanted}
        return {name: np.array(array, order="C") for name, array in arrays.items()}

    def close(self) -> None:
        """See :class:`mahtrt.targets.backend.Backend`."""
        self._call = _closed

    def _device_ms(self, feed: Feed) -> float:
        """See :class:`mahtrt.targets.backend.DeviceClock`."""
        assert self._events is not None
        begin, end = self._events
        with self._computing():
            inputs = self._inputs(feed)
            self._torch.cuda.synchronize()  # every clock begins on a GPU that has nothing to do
            begin.record()
            result = self._call(*inputs)
            end.record()
            end.synchronize()
            del result
        return float(begin.elapsed_time(end))

    def _inputs(self, feed: Feed) -> list[Any]:
        from_numpy, how = self._torch.from_numpy, self._how
        where = {"device": self._setting.device, "dtype": how.dtype, "memory_format": how.layout}
        return [from_numpy(feed[each.name]).to(**where) for each in self._spec.inputs]

    @contextlib.contextmanager
    def _computing(self) -> Iterator[None]:
        torch, threads = self._torch, self._setting.threads
        if threads not in (None, torch.get_num_threads()):
            torch.set_num_threads(threads)
        # Entered anew in every call: inference mode belongs to the thread.
        device = torch.device(self._setting.device).type
        cast = torch.autocast(device, torch.bfloat16, enabled=self._how.autocast)
        with torch.inference_mode(), whole_fp32(torch, self._setting.device), cast:
            mark = getattr(torch.compiler, "cudagraph_mark_step_begin", None)
            if mark is not None and self._events is not None:
                mark()
            yield


@dataclass(frozen=True, slots=True)
class PeerInput:
    """What a network takes: types of PyTorch.

    Attributes:
        autocast: Whether PyTorch casts what pays to BF16.
    """

    dtype: Any
    layout: Any
    autocast: bool = False


@dataclass(frozen=True, slots=True)
class TorchPeer:
    """One way to run a network with PyTorch; see :class:`mahtrt.runtime.peer.Peer`.

    Attributes:
        half_on: Devices on which it computes in FP16.
        autocast: Whether PyTorch casts what pays to BF16, and nothing else changes.
        layout: Memory format of images and weights.
        make: Compiles the network; None runs it as it is.
        devices: Where it runs.
    """

    half_on: tuple[str, ...] = ()
    autocast: bool = False
    layout: Layout = "contiguous"
    make: Maker | None = None
    devices: tuple[str, ...] = ("cpu", "cuda")
    package: str = "torch"
    backend: str = field(default="pytorch")

    def precision(self, device: str) -> str:
        """See :class:`mahtrt.runtime.peer.Peer`."""
        if self.autocast:
            return "bf16"
        return "fp16" if device in self.half_on else "fp32"

    def open(self, network: nn.Module, spec: ModelSpec, setting: PeerSetting) -> TorchPeerBackend:
        """See :class:`mahtrt.runtime.peer.Peer`."""
        torch: Any = require("torch", extra="export", needed_for="a PyTorch peer")
        self._check(torch, setting)
        is_half = self.precision(setting.device) == "fp16"
        layouts = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
        dtype = torch.float16 if is_half else torch.float32
        how = PeerInput(dtype, layouts[self.layout], self.autocast)
        rng, problem = np.random.default_rng(0), None
        feed = {
            each.name: rng.random((setting.batch, each.channels, *each.size), np.float32)
            for each in spec.inputs
        }
        for cast in ("layers", "all") if is_half else ("",):
            module = _placed(copy.deepcopy(network).eval(), setting.device, how, cast)
            facts = {"layout": self.layout, "cuda_graph": "none"}
            facts |= {"half": cast} if cast else {}
            try:
                return self._opened(module, spec, setting, (how, feed, facts))
            except RuntimeError as error:  # types that do not meet: cast everything
                problem = error
        assert problem is not None
        raise problem

    def _opened(
        self, module: nn.Module, spec: ModelSpec, setting: PeerSetting, given: tuple[Any, Feed, Any]
    ) -> TorchPeerBackend:
        import torch

        how, feed, facts = given
        call: Callable[..., Any] = module
        begun = time.perf_counter()
        if self.make is not None:
            shapes = [(setting.batch, each.channels, *each.size) for each in spec.inputs]
            samples = [
                torch.zeros(shape, device=setting.device, dtype=how.dtype).to(
                    memory_format=how.layout
                )
                for shape in shapes
            ]
            call, told = self.make(module, samples, setting)
            facts = facts | told
        backend = TorchPeerBackend(call, spec, setting, how, facts)
        for _ in range(WARM_UPS):
            backend.infer(feed)
        backend.facts["ready_s"] = f"{time.perf_counter() - begun:.1f}"
        return backend

    def _check(self, torch: Any, setting: PeerSetting) -> None:
        if setting.device not in self.devices:
            raise MissingComponentError(
                self.package, got=f"device {setting.device}", expected=" or ".join(self.devices)
            )
        if setting.device == "cuda" and not torch.cuda.is_available():
            raise MissingComponentError(
                "a PyTorch peer", got="no GPU that PyTorch sees", expected="one"
            )
        if self.package != "torch":
            require(self.package, extra="", needed_for="the peer")


def compiled(module: nn.Module, samples: Sequence[Any], setting: PeerSetting) -> Made:
    """``torch.compile`` at its best: kernels chosen by measuring, and CUDA graphs on a GPU."""
    return _compiled(module, setting, "max-autotune")


def compiled_quickly(module: nn.Module, samples: Sequence[Any], setting: PeerSetting) -> Made:
    """``torch.compile`` with CUDA graphs on a GPU, and no kernels chosen by measuring."""
    return _compiled(module, setting, "reduce-overhead")


def _compiled(
    module: nn.Module, setting: PeerSetting, mode: Literal["max-autotune", "reduce-overhead"]
) -> Made:
    import torch

    graph = "by torch.compile" if setting.device == "cuda" else "none"
    return torch.compile(module, mode=mode, dynamic=False), {"mode": mode, "cuda_graph": graph}


def compiled_by_tensorrt(module: nn.Module, samples: Sequence[Any], setting: PeerSetting) -> Made:
    """Torch-TensorRT through ``torch.export``, FP16 with FP32 where it wants that."""
    import torch

    torch_tensorrt: Any = require("torch_tensorrt", extra="", needed_for="the peer")
    types = {torch.float16, torch.float32}
    call = torch_tensorrt.compile(
        module, ir="dynamo", inputs=list(samples), enabled_precisions=types
    )
    return call, {"torch_tensorrt": str(torch_tensorrt.__version__)}


def _placed(module: nn.Module, device: str, how: PeerInput, cast: str) -> nn.Module:
    """On the device in its layout; in FP16 where ``cast`` says of what.

    ``layers``: whatever has weights. The rest, such as coordinates of a decoding, keeps its type.
    """
    module.to(device)
    module.to(memory_format=how.layout)
    if cast == "all":
        return module.half()
    for each in module.modules() if cast else ():
        own = [*each.parameters(recurse=False), *each.buffers(recurse=False)]
        if any(True for _ in each.parameters(recurse=False)):
            for tensor in own:
                if tensor.is_floating_point():
                    tensor.data = tensor.data.half()
    return module


def _closed(*_: Any) -> Any:
    raise RuntimeError("the peer was closed")


FP32 = TorchPeer()
FP16 = TorchPeer(half_on=("cpu", "cuda"))
CHANNELS_LAST = TorchPeer(half_on=("cuda",), layout="channels_last")
AUTOCAST = TorchPeer(autocast=True, layout="channels_last")
COMPILED = TorchPeer(half_on=("cuda",), layout="channels_last", make=compiled)
COMPILED_QUICKLY = TorchPeer(half_on=("cuda",), layout="channels_last", make=compiled_quickly)
TORCH_TENSORRT = TorchPeer(
    half_on=("cuda",),
    make=compiled_by_tensorrt,
    devices=("cuda",),
    package="torch_tensorrt",
    backend="torch-tensorrt",
)
