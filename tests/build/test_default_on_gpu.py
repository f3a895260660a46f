"""Which engine is the default where a GPU was measured, on a fake GPU whose times are set."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from build_options import make_options
from fake_gpu import FakeGpu
from foreign_network import ForeignNetwork
from rendering import report_text

from mahtrt.benchmarks import compare as compare_module
from mahtrt.build.build import build
from mahtrt.build.result import BuildResult
from mahtrt.measure.timing import Timings

pytestmark = pytest.mark.slow


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    made = FakeGpu("tensorrt", "10.16.1", monkeypatch)

    def interleave(calls: Any, options: Any, **_: Any) -> Any:
        found = made._interleave(calls, options)  # the reference, on the CPU, takes no time
        return {n: Timings(tuple(0.1 + ms for ms in each.samples_ms)) for n, each in found.items()}

    monkeypatch.setattr(compare_module, "interleave", interleave)
    # The fake inspector does not tell what its engines compute in.
    module = importlib.import_module("mahtrt.build.build")
    monkeypatch.setattr(module, "_check_layers", lambda *_: None)
    return made


def built(network: ForeignNetwork, out: Path) -> BuildResult:
    asked = make_options(
        network, out, precisions=("fp16", "int8"), targets=("tensorrt",), target_options=()
    )
    return build(asked)


@pytest.mark.parametrize(("int8_ms", "default"), [(1.0, "fp16"), (1.3, "fp16"), (0.5, "int8")])
def test_int8_has_to_be_faster_than_fp16(
    gpu: FakeGpu, foreign_network: ForeignNetwork, tmp_path: Path, int8_ms: float, default: str
) -> None:
    gpu.int8_ms = int8_ms
    result = built(foreign_network, tmp_path / "net.mahtrt")
    assert result.manifest.default_engine == f"tensorrt-{default}"
    rows = {row.name: row for row in result.report.rows if row.scope == "engine"}
    assert rows[f"tensorrt-{default}"].is_default
    assert rows["tensorrt-int8"].timed_by == "device"
    said = "tensorrt-int8 is not faster than tensorrt-fp16 on cuda:0 NVIDIA RTX 4090"
    kept = json.loads((result.path / "report.json").read_text(encoding="utf-8"))
    for warnings in (result.report.warnings, kept["warnings"]):
        assert any(each.startswith(said) for each in warnings) == (default == "fp16")
    shown = " ".join(report_text(result.report).split())
    assert (said in shown) == (default == "fp16")
    gpu.cuda.check()
