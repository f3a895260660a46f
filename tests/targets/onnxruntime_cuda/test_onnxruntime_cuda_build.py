"""A build for ONNX Runtime on a GPU: shared code knows nothing of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from build_options import make_options
from fake_ort_cuda import OrtGpu
from foreign_network import ForeignNetwork

from mahtrt.build.build import build
from mahtrt.errors import MissingComponentError
from mahtrt.targets.onnxruntime_cuda.findings import can_run

pytestmark = pytest.mark.slow
PRECISIONS = ("fp32", "fp16", "int8")


def test_every_precision_is_built_and_judged(
    foreign_network: ForeignNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = OrtGpu(monkeypatch)
    asked = make_options(
        foreign_network,
        tmp_path / "b.mahtrt",
        targets=("onnxruntime-cuda", "onnxruntime"),
        precisions=PRECISIONS,
        calib="phantom:12@1",
    )
    built = build(asked)
    records = {record.name: record for record in built.manifest.engines}
    ours = {name: each for name, each in records.items() if each.target == "onnxruntime-cuda"}
    assert [each.precision for each in ours.values()] == list(PRECISIONS)
    assert {each.verdict.measured_on for each in ours.values()} == {"engine"}
    for precision in ("fp32", "fp16"):  # one file for both targets
        assert ours[f"onnxruntime-cuda-{precision}"].files == (
            records[f"onnxruntime-{precision}"].files
        )
    assert ours["onnxruntime-cuda-int8"].files == {"onnx": "model.int8-fp16.onnx"}
    gpu.driver.check()


def test_without_a_gpu_it_is_judged_on_a_stand_in(
    foreign_network: ForeignNetwork, tmp_path: Path
) -> None:
    if can_run().able:
        pytest.skip("a GPU that can run it")
    asked = make_options(
        foreign_network, tmp_path / "b.mahtrt", targets=("onnxruntime-cuda",), precisions=("fp16",)
    )
    (record,) = build(asked).manifest.engines
    assert record.verdict is not None
    assert record.verdict.measured_on != "engine"
    assert record.latency is None
    assert any("Opened on a CPU" in note for note in record.notes)
    planned = make_options(
        foreign_network,
        tmp_path / "c.mahtrt",
        targets=("onnxruntime-cuda",),
        precisions=("int8",),
        calib="phantom:12@1",
        plan="auto",
    )
    with pytest.raises(MissingComponentError, match=r"GPU|driver"):
        build(planned)
