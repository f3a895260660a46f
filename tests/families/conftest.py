"""A network of every family: once trained on nothing, once exported, once built."""

from __future__ import annotations

from pathlib import Path

import pytest
from family_table import FAMILY_CASES, FamilyCase, write_checkpoint
from made_once import made_once

from mahtrt.build.build import build
from mahtrt.build.options import BuildOptions
from mahtrt.build.result import BuildResult
from mahtrt.export.export import export
from mahtrt.export.onnx import ExportResult
from mahtrt.export.options import ExportOptions


@pytest.fixture(scope="session", params=FAMILY_CASES, ids=[case.name for case in FAMILY_CASES])
def case(request: pytest.FixtureRequest) -> FamilyCase:
    """The network of a family."""
    found: FamilyCase = request.param
    return found


@pytest.fixture(scope="session")
def checkpoint(case: FamilyCase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its weights. Not to be changed."""
    return made_once(
        tmp_path_factory,
        f"{case.name}/checkpoint",
        lambda folder: write_checkpoint(case, folder / "net.safetensors"),
    )


@pytest.fixture(scope="session")
def exported(
    case: FamilyCase, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> ExportResult:
    """Its ONNX file, which has passed parity. Not to be changed."""

    def make(folder: Path) -> ExportResult:
        source = case.source(checkpoint)
        return export(ExportOptions(source, folder / "net.onnx", data=case.data(2, 3)))

    return made_once(tmp_path_factory, f"{case.name}/exported", make)


@pytest.fixture(scope="session")
def built(
    case: FamilyCase,
    exported: ExportResult,
    checkpoint: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> BuildResult:
    """Its bundle, in every precision for both CPU targets. Not to be changed."""
    asked = BuildOptions(
        exported.path,
        tmp_path_factory.mktemp(case.family) / "net.mahtrt",
        ("fp32", "bf16", "int8"),
        targets=("openvino", "onnxruntime"),
        calib=case.data(6, 11),
        eval=case.data(4, 12),
        reference=checkpoint,
        threads=1,
        limits=case.limits,
    )
    return build(asked)
