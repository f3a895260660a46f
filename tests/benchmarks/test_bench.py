"""bench() on a real bundle of tiny ONNX graphs, through the real runtimes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bench_fakes import FakeDataset
from rendering import text_of
from rich.console import Group
from tiny_bundle import write_tiny

from mahtrt.benchmarks import bench as bench_module
from mahtrt.benchmarks import measuring as measuring_module
from mahtrt.benchmarks.options import BenchOptions
from mahtrt.benchmarks.report import BenchReport
from mahtrt.benchmarks.startup import measure_startup
from mahtrt.bundle.bundle import Bundle
from mahtrt.errors import DataError, IntegrityError, MissingComponentError, UsageError
from mahtrt.measure.limits import Limits
from mahtrt.models.torch_reference import TorchBackend
from mahtrt.runtime.opening import open_engine
from mahtrt.verbs.measuring_text import measuring_tables

pytestmark = pytest.mark.slow

QUICK: dict[str, Any] = {"rounds": 2, "images": 3}


def bench(bundle: Path, **options: Any) -> BenchReport:
    return bench_module.bench(BenchOptions(bundle, **options))


class SameNetwork(torch.nn.Module):
    """The FP32 graph in PyTorch."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        points = torch.tensor([[5.0, 10.0], [15.0, 20.0], [25.0, 30.0]])
        return points + 1e-3 * image.sum((1, 2, 3)).reshape(-1, 1, 1)


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[TorchBackend]:
    """Let bench find this as the bundle's PyTorch network; what was closed of it."""
    found: list[TorchBackend] = []
    network = SameNetwork(), "tiny.safetensors"
    monkeypatch.setattr(bench_module, "find_reference", lambda *_, **__: network)
    monkeypatch.setattr(TorchBackend, "close", lambda backend: found.append(backend))
    return found


def test_every_engine_against_pytorch(
    tmp_path: Path, dataset: FakeDataset, closed: list[TorchBackend]
) -> None:
    report = bench(
        write_tiny(tmp_path / "tiny.mahtrt"),
        data=dataset,
        **QUICK,
    )
    assert [row.name for row in report.rows[::2]] == [
        "pytorch",
        "openvino-int8",
        "openvino-fp32",
        "onnxruntime-int8",
        "onnxruntime-fp32",
    ]
    moved: dict[str, Any] = {row.name: row.accuracy.mean_px for row in report.rows}
    assert moved["openvino-fp32"] < 1e-3
    assert moved["onnxruntime-fp32"] < 1e-3
    assert moved["openvino-int8"] == pytest.approx(0.1, abs=1e-3)
    assert report.judged_row.name == "openvino-int8"
    assert report.exit_code == 0
    assert report.rows[-1].speedup_vs_torch is not None
    (how,) = report.conditions["torch"]
    assert how["device"] == "cpu"
    assert {how["layout"]} <= {"contiguous", "channels_last"}
    assert how["threads"] >= 1
    assert "eager fp32 (tiny.safetensors), " in report.conditions["reference"]
    assert report.conditions["reference"].endswith(f"on cpu, threads {how['threads']}")
    assert report.model["bundle"] == "tiny.mahtrt"
    assert len(closed) == 1
    json.dumps(report.to_dict(), allow_nan=False)


def test_without_a_gpu_in_pytorch_its_ratios_to_gpu_engines_come_with_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert bench_module._devices_of_torch(["cuda", "cpu", "cuda"], warnings) == ["cpu"]
    assert "PyTorch has no GPU here" in warnings[0]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert bench_module._devices_of_torch(["cuda", "cpu", "cuda"], warnings) == ["cuda", "cpu"]
    assert bench_module._devices_of_torch([], warnings) == ["cpu"]
    assert len(warnings) == 1


def test_without_pytorch_the_bundles_own_fp32_is_the_reference(
    tmp_path: Path, dataset: FakeDataset
) -> None:
    report = bench(write_tiny(tmp_path / "b", off_px=0.5), data=dataset, **QUICK)
    assert (report.rows[0].name, report.rows[0].is_reference) == ("onnxruntime", True)
    assert "FP32 ONNX, onnxruntime" in report.conditions["reference"]
    assert {row.speedup_vs_torch for row in report.rows} == {None}
    assert report.exit_code == 3
    assert any("no PyTorch reference at hand" in warning for warning in report.warnings)


def test_without_data_the_golden_images_serve(tmp_path: Path) -> None:
    report = bench(write_tiny(tmp_path / "b"), rounds=2)
    assert report.conditions["images"] == 2
    assert report.rows[-1].accuracy.mre_px is None
    assert any("2 golden images" in warning for warning in report.warnings)


def test_a_folder_name_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: FakeDataset
) -> None:
    monkeypatch.setattr(bench_module, "open_dataset", lambda source, **_: dataset)
    report = bench(write_tiny(tmp_path / "b"), data="somewhere", **QUICK)
    assert report.conditions["data"] == "fake:5"


def test_batches(tmp_path: Path, dataset: FakeDataset) -> None:
    bundle = write_tiny(tmp_path / "b", batch=2)
    report = bench(bundle, data=dataset, batch=2, **QUICK)
    assert {row.batch for row in report.rows} == {2}
    assert report.rows[-1].accuracy.images == 3  # not a multiple of the batch
    with pytest.raises(UsageError, match=r"batch 4: .* openvino-int8 \(batch 2\)"):
        bench(bundle, data=dataset, batch=4)


def test_starts_sizes_and_several_callers_are_in_the_document(
    tiny_bundle: Path, tiny_batch_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring_module, "measure_startup", measure_startup)
    report = bench(
        tiny_bundle,
        engines=("openvino",),
        cold_starts=1,
        streams=(2, 1),
        stream_seconds=0.02,
        rounds=1,
        threads=1,
        sweep=(tiny_batch_bundle,),
    )
    document = report.to_dict()
    assert [row["name"] for row in document["startup"]] == ["openvino-fp32"]
    assert document["startup"][0]["cold_start_ms"]["p50"] > document["startup"][0]["open_ms"]
    assert document["sizes"]["bundle_bytes"] > document["sizes"]["engines"]["openvino-fp32"] > 0
    swept = [(row["batch"], row["streams"]) for row in document["throughput"]]
    assert swept == [(1, 2), (1, 1), (4, 2), (4, 1)]
    assert {row["name"] for row in document["throughput"]} == {"openvino-fp32"}
    assert "roofline" not in document
    json.dumps(document, allow_nan=False)
    text = text_of(Group(*measuring_tables(report.measures)), width=80)
    for told in ("cold ms", "callers", "bundle: "):
        assert told in text


def test_engines_by_name_and_target(tmp_path: Path, dataset: FakeDataset) -> None:
    bundle = write_tiny(tmp_path / "b")
    report = bench(bundle, data=dataset, engines=["onnxruntime", "openvino-fp32"], **QUICK)
    assert [row.name for row in report.rows[2::2]] == ["openvino-fp32", "onnxruntime-int8"]
    assert report.judged_row.name == "openvino-fp32"
    with pytest.raises(UsageError, match="no such engine"):
        bench(bundle, data=dataset, engines=["tensorrt"])


def test_an_engine_that_cannot_be_opened_is_left_out_loudly(
    tmp_path: Path, dataset: FakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, real = write_tiny(tmp_path / "b"), open_engine

    def refuse(found: Bundle, *, engine: str, **more: Any) -> Any:
        if engine.startswith(missing):
            raise MissingComponentError(f"engine {engine}", got="no Python package")
        return real(found, engine=engine, **more)

    monkeypatch.setattr(bench_module, "open_engine", refuse)
    missing = "onnxruntime"
    report = bench(bundle, data=dataset, **QUICK)
    assert [row.name for row in report.rows[2::2]] == ["openvino-int8", "openvino-fp32"]
    assert sum("is left out" in warning for warning in report.warnings) == 2
    with pytest.raises(MissingComponentError):
        bench(bundle, data=dataset, engines=["onnxruntime-int8"], **QUICK)
    missing = "openvino"  # the default engine
    with pytest.raises(MissingComponentError):
        bench(bundle, data=dataset, **QUICK)


def test_sessions_are_closed_even_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, real = [], open_engine

    def remember(*args: Any, **more: Any) -> Any:
        opened.append(real(*args, **more))
        return opened[-1]

    monkeypatch.setattr(bench_module, "open_engine", remember)
    with pytest.raises(DataError, match="at least one"):
        bench(write_tiny(tmp_path / "b"), data=FakeDataset(count=0))
    assert len(opened) == 4
    for session in opened:
        with pytest.raises(Exception, match=r"close\(\)"):
            session.run(np.zeros((8, 8), np.uint8))


def test_nothing_to_compare_with_is_said(tmp_path: Path, dataset: FakeDataset) -> None:
    bundle = write_tiny(tmp_path / "b", fp32=False, golden=())
    with pytest.raises(UsageError, match="--reference CHECKPOINT"):
        bench(bundle, data=dataset)
    with pytest.raises(DataError, match="--data"):
        bench(bundle)


def test_a_changed_bundle_is_refused_before_anything_runs(
    tmp_path: Path, dataset: FakeDataset
) -> None:
    bundle = write_tiny(tmp_path / "b")
    with (bundle / "model.onnx").open("r+b") as file:
        file.write(b"\xff")
    with pytest.raises(IntegrityError, match=r"model\.onnx"):
        bench(bundle, data=dataset)


def test_notes_of_an_engine_become_warnings(
    tmp_path: Path, dataset: FakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = open_engine

    def with_note(*args: Any, **more: Any) -> Any:
        session = real(*args, **more)
        session.opening_notes = ("Built elsewhere.",)
        return session

    monkeypatch.setattr(bench_module, "open_engine", with_note)
    report = bench(write_tiny(tmp_path / "b"), data=dataset, **QUICK)
    assert "openvino-int8: Built elsewhere." in report.warnings


def test_the_limits_are_the_callers(tmp_path: Path, dataset: FakeDataset) -> None:
    bundle = write_tiny(tmp_path / "b", off_px=0.5)
    limits = Limits(budget_px=0.6)
    assert bench(bundle, data=dataset, limits=limits, **QUICK).exit_code == 0
    with pytest.raises(UsageError, match="--least-agreement: got -1"):
        bench(bundle, data=dataset, limits=Limits(logits_agreement=-1.0), **QUICK)
    with pytest.raises(UsageError, match="--budget-logits: got a network that gives landmarks"):
        bench(bundle, data=dataset, limits=Limits(logits_max=1.0), **QUICK)
