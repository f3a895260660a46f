"""PyTorch peers on CPU tensors, by the code that runs them on a GPU."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from bench_fakes import make_spec

from mahtrt.errors import MissingComponentError
from mahtrt.models import torch_peers
from mahtrt.models.torch_peers import (
    CHANNELS_LAST,
    COMPILED,
    COMPILED_QUICKLY,
    FP16,
    FP32,
    TORCH_TENSORRT,
    TorchPeer,
)
from mahtrt.runtime.peer import PeerSetting

SPEC = make_spec()
CPU = PeerSetting("cpu")


class Points(torch.nn.Module):
    """Coordinates beside weights; the type of each is seen by what comes out."""

    def __init__(self, *, meets: bool = True) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 3, 3)
        self.register_buffer("far", torch.tensor([1001.25, 3.0]), persistent=False)
        self.meets, self.seen = meets, []  # type: ignore[var-annotated]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps = self.conv(image)
        self.seen.append((image.dtype, maps.is_contiguous(), self.far.dtype))
        if not self.meets and maps.dtype != self.far.dtype:
            raise RuntimeError("expected m1 and m2 to have the same dtype")
        return maps.float().mean((2, 3))[..., None] * 0 + self.far


def feed(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    (given,) = SPEC.inputs
    return {given.name: rng.random((1, given.channels, *given.size), np.float32)}


def run(peer: TorchPeer, network: torch.nn.Module) -> tuple[np.ndarray, dict[str, str], Any]:
    backend = peer.open(network, SPEC, CPU)
    points = backend.infer(feed())["landmarks"]
    assert points.dtype == np.float32
    assert not hasattr(backend, "device_ms")  # no events of a GPU
    assert backend.device == "cpu"
    seen = backend._call.seen[-1] if hasattr(backend._call, "seen") else None
    backend.close()
    with pytest.raises(RuntimeError, match="closed"):
        backend.infer(feed())
    return points, backend.facts, seen


def test_fp32() -> None:
    network = Points()
    points, facts, seen = run(FP32, network)
    assert points.tolist() == [[[1001.25, 3.0]] * 3]
    assert seen == (torch.float32, True, torch.float32)
    assert facts["layout"] == "contiguous"
    assert network.seen == []  # the caller's own is left alone


def test_fp16_leaves_coordinates_in_fp32() -> None:
    points, facts, seen = run(FP16, Points())
    assert seen == (torch.float16, True, torch.float32)
    assert points[0, 0, 0] == 1001.25  # FP16 has no such number
    assert facts["half"] == "layers"


def test_fp16_of_code_that_mixes_no_types_is_fp16_as_a_whole() -> None:
    points, facts, seen = run(FP16, Points(meets=False))
    assert seen == (torch.float16, True, torch.float16)
    assert points[0, 0, 0] == 1001.0
    assert facts["half"] == "all"


def test_channels_last_is_fp32_on_a_cpu() -> None:
    _, facts, seen = run(CHANNELS_LAST, Points())
    assert seen == (torch.float32, False, torch.float32)
    assert facts["layout"] == "channels_last"
    assert (CHANNELS_LAST.precision("cpu"), CHANNELS_LAST.precision("cuda")) == ("fp32", "fp16")


@pytest.mark.parametrize(
    ("peer", "mode"), [(COMPILED, "max-autotune"), (COMPILED_QUICKLY, "reduce-overhead")]
)
def test_compiled(monkeypatch: pytest.MonkeyPatch, peer: TorchPeer, mode: str) -> None:
    asked: list[dict[str, Any]] = []
    real = torch.compile

    def compile_quickly(module: Any, **options: Any) -> Any:
        asked.append(options)
        return real(module, backend="eager")

    monkeypatch.setattr(torch, "compile", compile_quickly)
    points, facts, _ = run(peer, Points())
    assert points.tolist() == [[[1001.25, 3.0]] * 3]
    assert asked == [{"mode": mode, "dynamic": False}]
    assert (facts["mode"], facts["cuda_graph"]) == (mode, "none")


def test_torch_tensorrt_without_a_gpu_or_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingComponentError, match="device cpu"):
        TORCH_TENSORRT.open(Points(), SPEC, CPU)
    if not torch.cuda.is_available():
        with pytest.raises(MissingComponentError, match="no GPU that PyTorch sees"):
            TORCH_TENSORRT.open(Points(), SPEC, PeerSetting("cuda"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "torch_tensorrt", None)
    with pytest.raises(MissingComponentError, match="no Python package torch_tensorrt"):
        TORCH_TENSORRT.open(Points(), SPEC, PeerSetting("cuda"))


def test_torch_tensorrt_is_asked_for_both_types(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    fake: Any = ModuleType("torch_tensorrt")
    fake.__version__ = "2.9.0"
    fake.compile = lambda module, **options: asked.update(options) or module
    monkeypatch.setitem(sys.modules, "torch_tensorrt", fake)
    call, facts = torch_peers.compiled_by_tensorrt(Points(), [torch.zeros(1)], PeerSetting("cuda"))
    assert callable(call)
    assert facts == {"torch_tensorrt": "2.9.0"}
    assert asked["enabled_precisions"] == {torch.float16, torch.float32}
    assert asked["ir"] == "dynamo"


def test_the_gpus_own_clock_is_asked_around_the_network_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[str] = []

    class Event:
        def record(self) -> None:
            order.append("record")

        def synchronize(self) -> None:
            order.append("wait")

        def elapsed_time(self, end: Any) -> float:
            return 1.5

    backend = FP32.open(Points(), SPEC, CPU)
    backend._call = lambda *_: order.append("network")
    backend._events = (Event(), Event())
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: order.append("step"))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: order.append("idle"))
    assert backend._device_ms(feed()) == 1.5
    assert order == ["step", "idle", "record", "network", "record", "wait"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no GPU")
@pytest.mark.parametrize("peer", [FP32, FP16, CHANNELS_LAST, COMPILED])
def test_peers_on_a_real_gpu(peer: TorchPeer) -> None:
    backend = peer.open(Points(), SPEC, PeerSetting("cuda"))
    assert backend.device.startswith("cuda:")
    np.testing.assert_allclose(backend.infer(feed())["landmarks"], [[[1001.25, 3.0]] * 3], atol=0.5)
    assert 0 < backend.device_ms(feed()) < 1000
    backend.close()
    assert SimpleNamespace(**backend.facts).ready_s
