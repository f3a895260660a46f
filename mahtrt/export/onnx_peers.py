"""OpenVINO and ONNX Runtime as a user runs them without mahtrt: what engines are measured beside.

Both get the plain export of the network, without mahtrt's rewrites, and their own settings for
latency; INT8 is made by their own quantisers, as these recommend. The network is traced once for
all of them.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

from mahtrt.errors import DataError, MissingComponentError
from mahtrt.export.onnx import plain_onnx
from mahtrt.machine import package_version
from mahtrt.runtime.decode import decode, landmark_names
from mahtrt.runtime.peer import PeerSetting
from mahtrt.spec import ModelSpec
from mahtrt.targets.backend import Backend
from mahtrt.targets.calibration_set import CalibrationSet
from mahtrt.targets.target import has_module

if TYPE_CHECKING:
    from torch import nn

Opener = Callable[[bytes, ModelSpec, int | None], Backend]
Int8Opener = Callable[[bytes, ModelSpec, int | None, CalibrationSet], "Int8Backend"]


class Int8Backend(Backend, Protocol):
    """A backend with facts for the report: how it was quantised."""

    facts: dict[str, str]


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
        _check_device(self.backend, setting)
        opener: Opener = _resolved(self.opener)
        return opener(_exported(network, spec, setting.batch), spec, setting.threads)


@dataclass(frozen=True, slots=True)
class Int8Peer:
    """A runtime of ONNX on the CPU with its own quantiser; see :class:`mahtrt.runtime.peer.Peer`.

    Attributes:
        opener: ``module:function``, resolved on use: a target's own code that quantises the plain
            export with images and makes a backend of it.
        package: The Python package of the quantiser, looked for before anything is exported.
    """

    backend: str
    opener: str
    package: str

    def precision(self, device: str) -> str:
        """See :class:`mahtrt.runtime.peer.Peer`."""
        return "int8"

    def open(self, network: nn.Module, spec: ModelSpec, setting: PeerSetting) -> Backend:
        """See :class:`mahtrt.runtime.peer.Peer`."""
        _check_device(self.backend, setting)
        if not has_module(self.package):
            raise MissingComponentError(
                self.package,
                got="no such package",
                expected="it to be installed",
                fix=f"Install it: pip install {self.package}.",
            )
        given = setting.calibration
        if given is None:
            raise DataError(
                "calibration images", got="none", expected="some", fix="Give --peer-calib."
            )
        images = given.images()
        has_landmarks = bool(landmark_names(spec))
        calibration = CalibrationSet(
            *(images, setting.batch, images.source),
            (lambda outputs: decode(outputs, spec).points_px) if has_landmarks else None,
            *(given.budget_px, given.minutes),
        )
        opener: Int8Opener = _resolved(self.opener)
        export = _exported(network, spec, setting.batch)
        begun = time.perf_counter()
        backend = opener(export, spec, setting.threads, calibration)
        backend.facts["quantiser"] = f"{self.package} {package_version(self.package) or ''}".strip()
        backend.facts["calibrated_on"] = str(calibration)
        backend.facts["ready_s"] = f"{time.perf_counter() - begun:.1f}"
        return backend


def _check_device(backend: str, setting: PeerSetting) -> None:
    if setting.device != "cpu":
        raise MissingComponentError(backend, got=f"device {setting.device}", expected="cpu")


def _resolved(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _exported(network: nn.Module, spec: ModelSpec, batch: int) -> bytes:
    known = _exports.setdefault(network, {})
    if batch not in known:
        known[batch] = plain_onnx(network, spec, batch=batch)
    return known[batch]


ONNXRUNTIME_FP32 = OnnxPeer("onnxruntime", "fp32", "mahtrt.targets.onnxruntime.plain:open_fp32")
OPENVINO_FP32 = OnnxPeer("openvino", "fp32", "mahtrt.targets.openvino.plain:open_fp32")
OPENVINO_BF16 = OnnxPeer("openvino", "bf16", "mahtrt.targets.openvino.plain:open_bf16")
ONNXRUNTIME_STATIC = Int8Peer(
    "onnxruntime", "mahtrt.targets.onnxruntime.static:open_static", package="onnxruntime"
)
NNCF_PTQ = Int8Peer("openvino", "mahtrt.targets.openvino.nncf_peers:open_quantized", package="nncf")
NNCF_ACCURACY = Int8Peer(
    "openvino", "mahtrt.targets.openvino.nncf_peers:open_within_budget", package="nncf"
)
