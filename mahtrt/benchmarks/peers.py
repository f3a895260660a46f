"""The table of peers: what else runs the same network, measured beside the engines.

A peer is a row of a bench, or the reason why it has none. The entries are strings, resolved on use,
so that looking at the table imports no framework; a new peer is a line here and an object with
:meth:`mahtrt.runtime.peer.Peer.open`.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from mahtrt.benchmarks.compare import Contender
from mahtrt.benchmarks.peer_failures import reason_of
from mahtrt.data.preprocess_version import PREPROCESS_VERSION
from mahtrt.errors import UsageError
from mahtrt.runtime.peer import Peer, PeerSetting
from mahtrt.runtime.session import Session
from mahtrt.spec import ModelSpec

DEVICES = ("auto", "cpu", "cuda")
# Name to ``module:object``, in the order in which they are listed.
PEERS = {
    "torch-fp32": "mahtrt.models.torch_peers:FP32",
    "torch-fp16": "mahtrt.models.torch_peers:FP16",
    "torch-channels-last": "mahtrt.models.torch_peers:CHANNELS_LAST",
    "torch-bf16": "mahtrt.models.torch_peers:AUTOCAST",
    "torch-compile": "mahtrt.models.torch_peers:COMPILED",
    "torch-compile-quick": "mahtrt.models.torch_peers:COMPILED_QUICKLY",
    "torch-tensorrt": "mahtrt.models.torch_peers:TORCH_TENSORRT",
    "onnxruntime-plain": "mahtrt.export.onnx_peers:ONNXRUNTIME_FP32",
    "openvino-plain": "mahtrt.export.onnx_peers:OPENVINO_FP32",
    "openvino-plain-bf16": "mahtrt.export.onnx_peers:OPENVINO_BF16",
    "onnxruntime-static": "mahtrt.export.onnx_peers:ONNXRUNTIME_STATIC",
    "nncf-ptq": "mahtrt.export.onnx_peers:NNCF_PTQ",
    "nncf-accuracy": "mahtrt.export.onnx_peers:NNCF_ACCURACY",
}
# A name for all that compute on a CPU; half precision there is slower than FP32 by far.
ALL_CPU = "all-cpu"
GROUPS = {ALL_CPU: tuple(name for name in PEERS if name not in ("torch-fp16", "torch-tensorrt"))}


def check_peers(names: Sequence[str], device: str) -> None:
    """Refuse a name that the table does not have, and a device that there is not.

    Raises:
        UsageError: There is no such peer or device.
    """
    if device not in DEVICES:
        raise UsageError("--peer-device", got=repr(device), expected=f"one of {', '.join(DEVICES)}")
    for name in names:
        if name not in PEERS and name not in GROUPS:
            expected = f"one of {', '.join((*PEERS, *GROUPS))}"
            raise UsageError(f"--peer {name!r}", got="no such peer", expected=expected)
    if ALL_CPU in names and device == "cuda":
        raise UsageError(f"--peer {ALL_CPU}", got="--peer-device cuda", expected="cpu or auto")


def named_peers(names: Sequence[str]) -> tuple[str, ...]:
    """The peers of a list of names and groups, each once, in their order."""
    return tuple(dict.fromkeys(each for name in names for each in GROUPS.get(name, (name,))))


def find_peer(name: str) -> Peer:
    """A peer by its name in the table."""
    module, _, attribute = PEERS[name].partition(":")
    found: Peer = getattr(importlib.import_module(module), attribute)
    return found


def open_peer(
    name: str,
    network: Any,
    spec: ModelSpec,
    setting: PeerSetting,
    preprocess_version: int = PREPROCESS_VERSION,
) -> Contender | str:
    """A peer ready to be measured, or why there is none, in a line.

    Args:
        network: The PyTorch network; None where it is not at hand.
        preprocess_version: The definition of preprocessing of the engines beside it.
    """
    if network is None:
        return "the PyTorch network is not at hand (--reference CHECKPOINT)"
    try:
        peer = find_peer(name)
        backend = peer.open(network, spec, setting)
    except Exception as error:  # a compiler's errors are of all kinds
        return reason_of(error)
    precision = peer.precision(setting.device)
    session = Session(backend, spec, preprocess_version=preprocess_version)
    return Contender(
        name, peer.backend, precision, backend.batch, session, device=setting.device, is_peer=True
    )
