"""A network of every family: once trained on nothing, once exported, once built."""

from __future__ import annotations

from pathlib import Path

import pytest
from family_table import FAMILY_CASES, FamilyCase, write_checkpoint

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
    return write_checkpoint(case, tmp_path_factory.mktemp(case.family) / "net.safetensors")


@pytest.fixture(scope="session")
def exported(
    case: FamilyCase, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> ExportResult:
    """Its ONNX file, which has passed parity. Not to be changed."""
    out = tmp_path_factory.mktemp(case.family) / "net.onnx"
    return export(ExportOptions(case.source(checkpoint), out, data=case.data(2, 3)))
