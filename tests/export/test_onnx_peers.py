"""Runtimes of ONNX as peers: the plain export, as a user would run it without mahtrt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from networks import HEATMAPS, UNet, images, settle, spec_for

from mahtrt.benchmarks.peers import open_peer
from mahtrt.errors import MissingComponentError
from mahtrt.export import onnx_peers
from mahtrt.export.onnx import plain_onnx
from mahtrt.export.onnx_peers import ONNXRUNTIME_FP32, OPENVINO_BF16, OPENVINO_FP32, OnnxPeer
from mahtrt.models.foreign import adapt
from mahtrt.models.torch_peers import AUTOCAST, FP32, TorchPeer
from mahtrt.runtime.peer import PeerSetting
from mahtrt.targets.openvino.run import has_native_bf16

pytestmark = pytest.mark.slow
CPU = PeerSetting("cpu", threads=1)
SPEC = spec_for(HEATMAPS, method="soft_argmax")


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return adapt(settle(UNet()), SPEC).eval()


def heatmaps(peer: OnnxPeer | TorchPeer, network: torch.nn.Module) -> np.ndarray:
    backend = peer.open(network, SPEC, CPU)
    found = backend.infer({SPEC.inputs[0].name: images(1)[0][None]})["heatmaps"]
    backend.close()
    return found


@pytest.mark.parametrize("peer", [ONNXRUNTIME_FP32, OPENVINO_FP32])
def test_a_plain_export_gives_what_pytorch_gives(peer: OnnxPeer, network: torch.nn.Module) -> None:
    wanted = heatmaps(FP32, network)
    np.testing.assert_allclose(heatmaps(peer, network), wanted, rtol=1e-3, atol=1e-4)
    assert peer.precision("cpu") == "fp32"


@pytest.mark.parametrize("peer", [OPENVINO_BF16, AUTOCAST])
def test_bf16_is_near_and_not_fp32(peer: OnnxPeer | TorchPeer, network: torch.nn.Module) -> None:
    if peer is OPENVINO_BF16 and not has_native_bf16():
        pytest.skip("this CPU has no native BF16")
    wanted, found = heatmaps(FP32, network), heatmaps(peer, network)
    apart = np.abs(found - wanted).max() / np.abs(wanted).max()
    assert 1e-5 < apart < 0.05
    assert peer.precision("cpu") == "bf16"


def test_bf16_is_no_row_on_a_cpu_without_it(
    network: torch.nn.Module, cpu: Callable[[str], None]
) -> None:
    cpu("avx2")
    told = open_peer("openvino-plain-bf16", network, SPEC, CPU)
    assert told == ("openvino: got a CPU without native BF16; expected one that multiplies BF16")


def test_the_network_is_traced_once_for_all_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    traced = []

    def counted(*given: Any, **more: Any) -> bytes:
        traced.append(more)
        return plain(*given, **more)

    plain = plain_onnx
    monkeypatch.setattr(onnx_peers, "plain_onnx", counted)
    network = adapt(settle(UNet()), SPEC).eval()
    heatmaps(ONNXRUNTIME_FP32, network)
    heatmaps(OPENVINO_FP32, network)
    assert traced == [{"batch": 1}]
    ONNXRUNTIME_FP32.open(network, SPEC, PeerSetting("cpu", batch=2)).close()
    assert traced == [{"batch": 1}, {"batch": 2}]


def test_a_gpu_is_refused(network: torch.nn.Module) -> None:
    with pytest.raises(MissingComponentError, match="got device cuda"):
        OPENVINO_FP32.open(network, SPEC, PeerSetting("cuda"))
