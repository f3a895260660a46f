"""Runtimes of ONNX as peers: the plain export, as a user would run it without mahtrt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from networks import HEATMAPS, LANDMARKS, MAP, SIZE, Transformer, UNet, images, settle, spec_for

from mahtrt.benchmarks.peers import open_peer
from mahtrt.data.feed import stack
from mahtrt.data.sample import Sample
from mahtrt.data.subset import NetworkTensors
from mahtrt.errors import MissingComponentError
from mahtrt.export import onnx_peers
from mahtrt.export.onnx import plain_onnx
from mahtrt.export.onnx_peers import (
    NNCF_ACCURACY,
    NNCF_PTQ,
    ONNXRUNTIME_FP32,
    ONNXRUNTIME_STATIC,
    OPENVINO_BF16,
    OPENVINO_FP32,
    Int8Peer,
    OnnxPeer,
)
from mahtrt.machine import describe_machine
from mahtrt.models.foreign import adapt
from mahtrt.models.torch_peers import AUTOCAST, FP32, TorchPeer
from mahtrt.openvino_core import shared_core
from mahtrt.runtime.peer import PeerCalibration, PeerSetting
from mahtrt.spec import ModelSpec
from mahtrt.targets.onnxruntime import static
from mahtrt.targets.openvino import nncf_peers
from mahtrt.targets.openvino.run import has_native_bf16

pytestmark = pytest.mark.slow
CPU = PeerSetting("cpu", threads=1)
SPEC = spec_for(HEATMAPS, method="soft_argmax")


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return adapt(settle(UNet()), SPEC).eval()


def whole(network: torch.nn.Module) -> ModelSpec:
    """The spec with what decoding adds: landmarks, confidence and spread."""
    spec = network.spec
    assert isinstance(spec, ModelSpec)
    return spec


def heatmaps(peer: OnnxPeer | TorchPeer, network: torch.nn.Module) -> np.ndarray:
    backend = peer.open(network, whole(network), CPU)
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
    told = open_peer("openvino-plain-bf16", network, whole(network), CPU)
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
    ONNXRUNTIME_FP32.open(network, whole(network), PeerSetting("cpu", batch=2)).close()
    assert traced == [{"batch": 1}, {"batch": 2}]


# INT8 by the runtimes' own quantisers


def calibration(count: int = 4, budget_px: float = 0.25, minutes: float = 1.0) -> PeerCalibration:
    shades = np.random.default_rng(5).integers(0, 256, (count, *SIZE, 3), np.uint8)

    class Images:
        source, names = "shades", tuple(map(str, range(count)))

        def __len__(self) -> int:
            return count

        def __getitem__(self, index: int) -> Sample:
            return Sample(str(index), shades[index])

        def __iter__(self) -> Iterator[Sample]:
            return map(self.__getitem__, range(count))

    return PeerCalibration(lambda: NetworkTensors(Images(), SPEC), budget_px, minutes)


def quantised(peer: Int8Peer, network: torch.nn.Module, **given: Any) -> tuple[np.ndarray, Any]:
    """Outputs (4, K, H, W) of the images that calibrated, and the peer's facts."""
    setting = PeerSetting("cpu", threads=1, calibration=calibration(**given))
    assert setting.calibration is not None
    cases = setting.calibration.images()
    backend = peer.open(network, whole(network), setting)
    found = [backend.infer(stack([case]))["heatmaps"] for case in cases]
    backend.close()
    return np.concatenate(found), backend.facts  # type: ignore[attr-defined]


def test_onnx_runtimes_own_int8_is_near_and_not_fp32(network: torch.nn.Module) -> None:
    found, facts = quantised(ONNXRUNTIME_STATIC, network)
    cases = calibration().images()
    backend = ONNXRUNTIME_FP32.open(network, whole(network), CPU)
    wanted = np.concatenate([backend.infer(stack([case]))["heatmaps"] for case in cases])
    apart = np.abs(found - wanted).max() / np.abs(wanted).max()
    assert 1e-4 < apart < 0.1
    assert ONNXRUNTIME_STATIC.precision("cpu") == "int8"
    assert facts["calibrated_on"] == "4 images of shades"
    assert facts["quantiser"].startswith("onnxruntime 1.")
    assert facts["weights"] in ("7 bits", "8 bits")


@pytest.mark.parametrize(
    ("isa", "architecture", "expected"),
    [(("avx2",), "x86_64", ("QUInt8", True)), (("avx2", "vnni"), "AMD64", ("QUInt8", False)),
     ((), "aarch64", ("QInt8", False))],
)  # fmt: skip
def test_int8_is_what_onnx_runtime_recommends_for_the_cpu(
    isa: tuple[str, ...], architecture: str, expected: tuple[str, bool]
) -> None:
    tool = pytest.importorskip("onnxruntime.quantization")
    machine = replace(describe_machine(), isa=isa, architecture=architecture)
    found = static.recommended(tool, machine)
    assert (found["activation_type"].name, found["reduce_range"]) == expected
    assert (found["weight_type"].name, found["per_channel"]) == ("QInt8", True)


def test_int8_without_images_is_a_reason(network: torch.nn.Module) -> None:
    told = open_peer("onnxruntime-static", network, whole(network), CPU)
    assert told == "calibration images: got none; expected some. Give --peer-calib."


def test_without_nncf_the_reason_says_what_to_install(
    network: torch.nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_peers, "has_module", lambda name: name != "nncf")
    for name in ("nncf-ptq", "nncf-accuracy"):
        told = open_peer(name, network, whole(network), PeerSetting(calibration=calibration()))
        assert told == (
            "nncf: got no such package; expected it to be installed. Install it: pip install nncf."
        )


@pytest.mark.parametrize("peer", [NNCF_PTQ, NNCF_ACCURACY])
def test_nncf_is_near_and_not_fp32(peer: Int8Peer, network: torch.nn.Module) -> None:
    pytest.importorskip("nncf")
    found, facts = quantised(peer, network)
    backend = OPENVINO_FP32.open(network, whole(network), CPU)
    cases = calibration().images()
    wanted = np.concatenate([backend.infer(stack([case]))["heatmaps"] for case in cases])
    assert 1e-4 < np.abs(found - wanted).max() / np.abs(wanted).max() < 0.1
    assert (facts["preset"], facts.get("model_type")) == ("mixed", None)
    assert facts.get("max_drop_px") == ("0.25" if peer is NNCF_ACCURACY else None)


class FakeNncf:
    """NNCF's part in the search: it tries the plain network, and gives it back."""

    tried: ClassVar[list[tuple[float, list[float]]]] = []

    class ModelType:
        TRANSFORMER = SimpleNamespace(value="transformer")

    class QuantizationPreset:
        MIXED, PERFORMANCE = SimpleNamespace(value="mixed"), SimpleNamespace(value="performance")

    DropType = SimpleNamespace(ABSOLUTE="absolute")

    @staticmethod
    def Dataset(source: Any, transform: Callable[[Any], Any]) -> Any:  # noqa: N802
        return SimpleNamespace(items=list(source), transform=transform, count=len(source))

    @staticmethod
    def AdvancedAccuracyRestorerParameters(num_ranking_workers: int) -> int:  # noqa: N802
        return num_ranking_workers

    @classmethod
    def quantize_with_accuracy_control(
        cls, model: Any, calib: Any, checked: Any, metric: Any, **settings: Any
    ) -> Any:
        print("noise")
        assert (calib.count, settings["max_drop"]) == (len(calib.items), 0.25)
        assert next(iter(calib.transform(calib.items[0]).values())).shape == (1, 3, *SIZE)
        cls.tried.append(metric(shared_core().compile_model(model, "CPU"), checked.items))
        return model


def search(network: torch.nn.Module, monkeypatch: pytest.MonkeyPatch, **given: Any) -> Any:
    monkeypatch.setattr(onnx_peers, "has_module", lambda name: True)
    monkeypatch.setattr(nncf_peers, "_nncf", lambda: FakeNncf)
    FakeNncf.tried.clear()
    setting = PeerSetting("cpu", calibration=calibration(**given))
    return open_peer("nncf-accuracy", network, whole(network), setting)


def test_what_nncf_holds_is_the_displacement_from_fp32(
    network: torch.nn.Module,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = search(network, monkeypatch)
    assert not isinstance(found, str), found
    ((metric, parts),) = FakeNncf.tried
    assert len(parts) == 4
    assert metric == pytest.approx(np.mean(parts))
    assert 0.0 < metric <= 1.0  # 1 less what OpenVINO's default precision here moves
    assert found.precision == "int8"
    assert found.session.facts["max_drop_px"] == "0.25"
    assert capsys.readouterr() == ("", "")
    found.session.close()


def test_a_search_that_takes_too_long_is_a_reason(
    network: torch.nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = search(network, monkeypatch, minutes=0.0)
    assert told == (
        "nncf-accuracy: got no network within 0.25 px in 0 min; expected one. Give it longer with "
        "--peer-minutes."
    )


def test_attention_is_told_from_a_decoding(network: torch.nn.Module) -> None:
    core = shared_core()
    plain = core.read_model(plain_onnx(network, whole(network)))
    assert not nncf_peers.has_attention(plain)
    transformer = adapt(settle(Transformer(eager=True)), spec_for(LANDMARKS, MAP)).eval()
    attentive = core.read_model(plain_onnx(transformer, spec_for(LANDMARKS, MAP)))
    assert nncf_peers.has_attention(attentive)


def test_a_gpu_is_refused(network: torch.nn.Module) -> None:
    with pytest.raises(MissingComponentError, match="got device cuda"):
        OPENVINO_FP32.open(network, whole(network), PeerSetting("cuda"))
