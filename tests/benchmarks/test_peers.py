"""Peers are rows beside the engines, or say why they are none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from bench_fakes import FakeDataset, FakeSession, make_spec
from rendering import report_text

from mahtrt.benchmarks import conditions as conditions_module
from mahtrt.benchmarks import peers as peers_module
from mahtrt.benchmarks.bench import bench
from mahtrt.benchmarks.compare import Contender, compare
from mahtrt.benchmarks.options import BenchOptions, CompareOptions
from mahtrt.benchmarks.peers import PEERS, check_peers, find_peer, named_peers, open_peer
from mahtrt.benchmarks.report import BenchReport, ReportFacts
from mahtrt.cuda.state import GpuState
from mahtrt.errors import MissingComponentError, UsageError
from mahtrt.runtime.peer import PeerSetting

QUICK = CompareOptions(rounds=4, warmup=1, rest=lambda: True)
H200 = "cuda:0 NVIDIA H200"


@dataclass
class OnGpu(FakeSession):
    """A session that is timed by the clock of its GPU."""

    device: str = H200
    took_ms: float = 2.0

    def device_ms(self, feed: Mapping[str, np.ndarray]) -> float:
        self.infer(feed)
        return self.took_ms

    @property
    def facts(self) -> dict[str, str]:
        return {"cuda_graph": "captured"}


def contender(name: str, session: Any, precision: str = "fp32", **more: Any) -> Contender:
    return Contender(name, name.partition("-")[0], precision, 1, session, device="cuda", **more)


def run(found: list[Contender], dataset: FakeDataset, **facts: Any) -> BenchReport:
    return compare(found, dataset, QUICK, ReportFacts("fake", **facts))


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> list[GpuState]:
    """What the GPU tells, before and after."""
    states = [
        GpuState("nvidia-smi", "NVIDIA H200", "580.1", sm_mhz=1980, max_sm_mhz=1980),
        GpuState("nvidia-smi", "NVIDIA H200", "580.1", sm_mhz=1200, max_sm_mhz=1980,
                 reasons=("software power cap",)),
    ]  # fmt: skip
    told = list(states)
    monkeypatch.setattr(conditions_module, "read_gpu", lambda: told.pop(0))
    return states


def test_a_peer_is_compared_and_judged_by_nobody(
    dataset: FakeDataset, clocks: list[GpuState]
) -> None:
    found = [
        contender("pytorch", OnGpu(), is_reference=True),
        contender("torch-fp16", OnGpu(90.0, took_ms=1.0), "fp16", is_peer=True),
        contender("tensorrt-fp16", OnGpu(0.2, took_ms=0.5), "fp16", is_default=True),
    ]
    report = run(found, dataset, peers={"torch-fp16": "", "torch-tensorrt": "not installed"})
    assert [row.name for row in report.rows[::2]] == ["pytorch", "tensorrt-fp16", "torch-fp16"]
    peer, whole = report.rows[4:]
    assert (peer.is_peer, peer.gate, peer.precision) == (True, None, "fp16")
    assert peer.accuracy.mean_px == pytest.approx(45.0)
    assert (peer.timings.samples_ms, peer.timed_by) == ((1.0,) * 4, "device")
    assert (peer.speedup_vs_torch, whole.timed_by) == (2.0, "wall")
    assert report.judged_row.name == "tensorrt-fp16"
    assert report.exit_code == 0  # a peer that is 45 px off is no failure of an engine
    document = json.loads(json.dumps(report.to_dict()))
    assert [row["peer"] for row in document["rows"]] == [False] * 4 + [True] * 2
    told = document["conditions"]
    assert told["peers"] == {"torch-fp16": "", "torch-tensorrt": "not installed"}
    assert told["copies_included"] is False
    assert told["runs"]["tensorrt-fp16"] == {"cuda_graph": "captured"}
    assert told["gpu"]["before"]["sm_mhz"] == 1980
    assert "the GPU was slowed by software power cap: SM 1200 of 1980 MHz, slowed by software" in (
        " ".join(report.warnings)
    )
    text = report_text(report)
    assert "GPU before: NVIDIA H200, driver 580.1, SM 1980 of 1980 MHz, not throttled" in text
    assert "tensorrt-fp16: cuda_graph captured" in text
    assert "peer: what else runs the network" in report_text(report, explain=True)


class Failing(FakeSession):
    """A session whose calls fail after some of each kind."""

    def __init__(self, runs: int, infers: int) -> None:
        super().__init__()
        self.left = {"run": runs, "infer": infers}

    def count(self, kind: str) -> None:
        if not self.left[kind]:
            raise RuntimeError(f"\n out of {kind}\nmore")
        self.left[kind] -= 1

    def run(self, *images: np.ndarray) -> Any:
        self.count("run")
        return super().run(*images)

    def infer(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.count("infer")
        return super().infer(feed)


def beside_an_engine(*peers: Contender) -> list[Contender]:
    return [
        Contender("pytorch", "pytorch", "fp32", 1, FakeSession(), is_reference=True),
        Contender("openvino-int8", "openvino", "int8", 1, FakeSession(0.1), is_default=True),
        *peers,
    ]


@pytest.mark.parametrize(
    ("runs", "infers", "reason"),
    [(0, 99, "run"), (3, 99, "run"), (99, 0, "infer"), (99, 3, "infer"), (7, 99, "run")],
)
def test_a_peer_that_stops_in_the_middle_is_a_row_with_its_reason(
    dataset: FakeDataset, runs: int, infers: int, reason: str
) -> None:
    failing = Contender("torch-bf16", "pytorch", "bf16", 1, Failing(runs, infers), is_peer=True)
    fine = Contender("torch-fp32", "pytorch", "fp32", 1, FakeSession(0.2), is_peer=True)
    given = {"torch-fp32": "", "torch-bf16": "", "torch-tensorrt": "not installed"}
    report = run(beside_an_engine(failing, fine), dataset, peers=given)
    assert [row.name for row in report.rows[::2]] == ["pytorch", "openvino-int8", "torch-fp32"]
    assert {row.timings.runs for row in report.rows if row.timings} == {4}
    told = {"torch-bf16": f"RuntimeError: out of {reason}", "torch-tensorrt": "not installed"}
    assert report.failed_peers == told
    assert set(report.details) == {"openvino-int8", "torch-fp32"}
    document = json.loads(json.dumps(report.to_dict()))
    assert document["failed_peers"] == [{"name": n, "reason": r} for n, r in told.items()]
    assert document["conditions"]["peers"] == {"torch-fp32": ""} | told
    lines = report_text(report).splitlines()
    row = [each.strip() for each in lines].index(f"torch-bf16      failed: {told['torch-bf16']}")
    assert lines[row - 1].startswith("torch-fp32 ")  # in the same table
    assert report.exit_code == 0


def test_an_engine_that_stops_ends_the_bench(dataset: FakeDataset) -> None:
    for session in (Failing(2, 99), Failing(99, 2)):
        with pytest.raises(RuntimeError, match="out of"):
            run(beside_an_engine(Contender("x", "openvino", "int8", 1, session)), dataset)


def test_where_one_on_the_gpu_has_no_clock_all_are_timed_by_the_hosts(
    dataset: FakeDataset, clocks: list[GpuState]
) -> None:
    class WithoutClock(OnGpu):
        device_ms = None  # type: ignore[assignment]

    found = [
        contender("pytorch", OnGpu(), is_reference=True),
        contender("onnxruntime-fp32", WithoutClock()),
    ]
    report = run(found, dataset)
    assert {row.timed_by for row in report.rows} == {"wall"}
    assert report.conditions["copies_included"] is True
    assert report.rows[2].speedup_vs_reference is not None


def test_times_of_different_clocks_are_not_divided(
    dataset: FakeDataset, clocks: list[GpuState]
) -> None:
    found = [
        Contender("pytorch", "pytorch", "fp32", 1, FakeSession(), is_reference=True),
        contender("tensorrt-fp16", OnGpu(), "fp16"),
    ]
    engine, whole = run(found, dataset).rows[2:]
    assert (engine.timed_by, engine.speedup_vs_reference) == ("device", None)
    assert whole.speedup_vs_reference is not None


def test_clocks_that_nobody_tells(dataset: FakeDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions_module, "read_gpu", lambda: None)
    report = run([contender("pytorch", OnGpu(), is_reference=True)], dataset)
    assert any("clocks are not known" in each for each in report.warnings)


def test_a_cpu_has_no_clocks(dataset: FakeDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions_module, "read_gpu", lambda: 1 / 0)
    found = [Contender("pytorch", "pytorch", "fp32", 1, FakeSession(), is_reference=True)]
    assert "gpu" not in run(found, dataset).conditions


def test_every_entry_of_the_table_is_a_peer() -> None:
    for name in PEERS:
        peer = find_peer(name)
        assert {peer.precision("cpu"), peer.precision("cuda")} <= {"fp32", "fp16", "bf16", "int8"}
        assert peer.backend


def test_what_goes_wrong_is_the_reason_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    setting, spec = PeerSetting(), make_spec()
    assert "--reference" in str(open_peer("torch-fp32", None, spec, setting))

    def broken(error: Exception) -> Any:
        class Broken:
            backend = "x"

            def open(self, *_: Any) -> Any:
                raise error

        monkeypatch.setattr(peers_module, "find_peer", lambda name: Broken())
        return open_peer("torch-compile", object(), spec, setting)

    assert broken(RuntimeError("\n  no C++ compiler\nmore\n")) == "RuntimeError: no C++ compiler"
    assert broken(ValueError()) == "ValueError: no message"
    missing = MissingComponentError("the peer", got="no Python package torch_tensorrt")
    assert broken(missing) == "the peer: got no Python package torch_tensorrt"


def test_names_that_are_none() -> None:
    check_peers(("torch-fp32", "torch-compile"), "cuda")
    with pytest.raises(UsageError, match="torch-fp32, torch-fp16"):
        check_peers(("torch",), "auto")
    with pytest.raises(UsageError, match="auto, cpu, cuda"):
        check_peers((), "gpu")


def test_one_name_stands_for_all_that_compute_on_a_cpu() -> None:
    found = named_peers(("nncf-ptq", "all-cpu", "torch-fp16", "nncf-ptq"))
    assert set(found) == PEERS.keys() - {"torch-tensorrt"}
    assert (found[0], found[-1], len(found)) == ("nncf-ptq", "torch-fp16", len(set(found)))
    check_peers(("all-cpu",), "auto")
    with pytest.raises(UsageError, match="got --peer-device cuda; expected cpu or auto"):
        check_peers(("all-cpu",), "cuda")


class Shifted(FakeDataset):
    """Images that the other data set does not have."""

    def __getitem__(self, index: int) -> Any:
        sample = super().__getitem__(index)
        return replace(sample, image=sample.image + np.uint8(100))


@pytest.mark.slow
def test_a_bench_with_peers_on_the_cpu(
    tmp_path: Any, dataset: FakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tiny_bundle import write_tiny

    import mahtrt.benchmarks.bench as bench_module

    class SameNetwork(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            points = torch.tensor([[5.0, 10.0], [15.0, 20.0], [25.0, 30.0]])
            return points + 1e-3 * image.sum((1, 2, 3)).reshape(-1, 1, 1)

    network = SameNetwork(), "tiny.safetensors"
    monkeypatch.setattr(bench_module, "find_reference", lambda *_, **__: network)
    options = BenchOptions(
        write_tiny(tmp_path / "tiny.mahtrt"), data=dataset, rounds=2, images=3,
        engines=("onnxruntime-fp32",), peer_calib=FakeDataset(16, source="other"),
        peers=("torch-fp32", "torch-tensorrt", "torch-fp32", "onnxruntime-static"),
    )  # fmt: skip
    told: list[str] = []
    report = bench(options, lambda stage, done, total, detail="": told.append(detail))
    assert [row.name for row in report.rows[::2]] == ["pytorch", "onnxruntime-fp32", "torch-fp32"]
    assert report.rows[4].accuracy.mean_px == pytest.approx(0.0, abs=1e-4)
    assert told[:3] == ["torch-fp32", "torch-tensorrt", "onnxruntime-static"]
    assert report.failed_peers["torch-tensorrt"].startswith("torch_tensorrt: got device cpu")
    assert report.failed_peers["onnxruntime-static"].startswith(
        "the peers' calibration and evaluation images: got 3 in both (0.png, 2.png, 4.png)"
    )
    other = Shifted(16, source="other")
    options = replace(options, peers=("onnxruntime-static",), peer_calib=other)
    row = bench(options).rows[-1]
    assert (row.name, row.precision, row.is_peer) == ("onnxruntime-static", "int8", True)
    assert row.accuracy.mean_px is not None
    assert 1e-3 < row.accuracy.mean_px < 5.0  # its images are darker than all that calibrated
    with pytest.raises(UsageError, match="no such peer"):
        bench(replace(options, peers=("tvm",)))
