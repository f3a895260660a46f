"""OpenVINO and ONNX Runtime as a user runs them without mahtrt: what engines are measured beside.

Both get the plain export of the network, without mahtrt's rewrites, and their own settings for
latency. The network is traced once for all of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from mahtrt.errors import MissingComponentError
from mahtrt.export.onnx import plain_onnx
from mahtrt.runtime.peer import PeerSetting
from mahtrt.spec import ModelSpec
from mahtrt.targets.backend import Backend

if TYPE_CHECKING:
    from torch import nn

Opener = Callable[[bytes, ModelSpec, int | None], Backend]

# Exports of networks that are alive, by batch.
_exports: WeakKeyDictionary[Any, dict[int, bytes]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class OnnxPeer:
    """A runtime of ONNX on the CPU; see :class:`mahtrt.runtime.peer.Peer`.

    Attributes:
        computes_in: Its precision.
        opener: ``module:function``, resolved on use: a target's own code that makes a backend of an
            ONNX file's content, the spec, and a number of threads.
    """

    backend: str
    computes_in: str
    opener: str

    def precision(self, device: str) -> str:
        """See :class:`mahtrt.runtime.peer.Peer`."""
        return self.computes_in

    def open(self, network: nn.Module, spec: ModelSpec, setting: PeerSetting) -> Backend:
        """See :class:`mahtrt.runtime.peer.Peer`."""
        if setting.device != "cpu":
            raise MissingComponentError(
                self.backend, got=f"device {setting.device}", expected="cpu"
            )
        module, _, name = self.opener.partition(":")
        opener: Opener = getattr(importlib.import_module(module), name)
        return opener(_exported(network, spec, setting.batch), spec, setting.threads)


def _exported(network: nn.Module, spec: ModelSpec, batch: int) -> bytes:
    known = _exports.setdefault(network, {})
    if batch not in known:
        known[batch] = plain_onnx(network, spec, batch=batch)
    return known[batch]


ONNXRUNTIME_FP32 = OnnxPeer("onnxruntime", "fp32", "mahtrt.targets.onnxruntime.plain:open_fp32")
OPENVINO_FP32 = OnnxPeer("openvino", "fp32", "mahtrt.targets.openvino.plain:open_fp32")
OPENVINO_BF16 = OnnxPeer("openvino", "bf16", "mahtrt.targets.openvino.plain:open_bf16")
