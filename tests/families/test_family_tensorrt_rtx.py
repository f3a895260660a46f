"""Every family's graphs through TensorRT-RTX's real builder, which needs no GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
from family_table import FamilyCase

from mahtrt.build.build import build
from mahtrt.build.options import BuildOptions
from mahtrt.cuda.probe import probe_cuda
from mahtrt.export.onnx import ExportResult
from mahtrt.targets.tensorrt.options import TensorRtOptions

ARCHITECTURES = ("SM86", "SM89", "SM120")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(probe_cuda().devices), reason="says what happens without a GPU, and here is one"
    ),
]
pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX is not installed")


def test_it_builds_for_every_architecture(
    case: FamilyCase, exported: ExportResult, checkpoint: Path, tmp_path: Path
) -> None:
    asked = BuildOptions(
        exported.path,
        tmp_path / "net.mahtrt",
        ("fp32", "fp16", "int8"),
        targets=("tensorrt-rtx",),
        calib=case.data(6, 11),
        eval=case.data(3, 12),
        reference=checkpoint,
        threads=1,
        limits=case.limits,
        cache=False,
        target_options=(TensorRtOptions(compute_capabilities=ARCHITECTURES),),
    )
    result = build(asked)
    assert [engine.precision for engine in result.manifest.engines] == ["fp32", "fp16", "int8"]
    for engine in result.manifest.engines:
        assert engine.device.capabilities == ARCHITECTURES
        assert (result.path / engine.files["plan"]).stat().st_size > 10_000
        assert engine.verdict is not None
        assert engine.verdict.passed
