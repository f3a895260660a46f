"""OpenVINO and ONNX Runtime as a user runs them without mahtrt: what engines are measured beside.

Both get the plain export of the network, without mahtrt's rewrites, and their own settings for
latency. The network is traced once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from mahtrt.errors import MissingComponentError, ModelError, require
from mahtrt.export.onnx import plain_onnx
from mahtrt.openvino_core import shared_core
from mahtrt.runtime.peer import PeerSetting
from mahtrt.spec import ModelSpec
from mahtrt.targets.backend import Backend
from mahtrt.targets.onnxruntime.run import OnnxRuntimeBackend, open_onnx
from mahtrt.targets.openvino.run import OpenVinoBackend, config_for, has_native_bf16

if TYPE_CHECKING:
    from torch import nn

Opener = Callable[[bytes, ModelSpec, PeerSetting], Backend]

# Exports of networks that are alive, by batch.
_exports: WeakKeyDictionary[Any, dict[int, bytes]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class OnnxPeer:
    """A runtime of ONNX on the CPU; see :class:`mahtrt.runtime.peer.Peer`.

    Attributes:
        computes_in: Its precision.
        opener: Makes a backend of an ONNX file's content.
    """

    backend: str
    computes_in: str
    opener: Opener

    def precision(self, device: str) -> str:
        """See :class:`mahtrt.runtime.peer.Peer`."""
        return self.computes_in

    def open(self, network: nn.Module, spec: ModelSpec, setting: PeerSetting) -> Backend:
        """See :class:`mahtrt.runtime.peer.Peer`."""
        if setting.device != "cpu":
            raise MissingComponentError(
                self.backend, got=f"device {setting.device}", expected="cpu"
            )
        return self.opener(_exported(network, spec, setting.batch), spec, setting)


def _exported(network: nn.Module, spec: ModelSpec, batch: int) -> bytes:
    known = _exports.setdefault(network, {})
    if batch not in known:
        known[batch] = plain_onnx(network, spec, batch=batch)
    return known[batch]


def _onnxruntime(data: bytes, spec: ModelSpec, setting: PeerSetting) -> Backend:
    session = open_onnx(data, "the plain export", threads=setting.threads)
    return OnnxRuntimeBackend(session, spec, "onnxruntime")


def _openvino(inference_precision: str) -> Opener:
    def opener(data: bytes, spec: ModelSpec, setting: PeerSetting) -> Backend:
        require("openvino", extra="", needed_for="the peer")
        if inference_precision == "bf16" and not has_native_bf16():
            raise MissingComponentError(
                "openvino", got="a CPU without native BF16", expected="one that multiplies BF16"
            )
        core = shared_core()
        config = config_for(inference_precision, setting.threads)
        try:
            compiled = core.compile_model(core.read_model(data), "CPU", config)
        except RuntimeError as error:
            raise ModelError(
                "the plain export", got=str(error).partition("\n")[0], expected="one it compiles"
            ) from error
        return OpenVinoBackend(compiled, spec, "openvino")

    return opener


ONNXRUNTIME_FP32 = OnnxPeer("onnxruntime", "fp32", _onnxruntime)
OPENVINO_FP32 = OnnxPeer("openvino", "fp32", _openvino("f32"))
OPENVINO_BF16 = OnnxPeer("openvino", "bf16", _openvino("bf16"))
