from __future__ import annotations

from pathlib import Path

import pytest

import mahtrt
import mahtrt.export.onnx
from mahtrt.errors import UsageError


def test_the_package_is_the_verb(tmp_path: Path) -> None:
    for _ in range(2):
        assert callable(mahtrt.export)
        with pytest.raises(UsageError, match="opset: got 3"):
            mahtrt.export(None, None, tmp_path / "out.onnx", opset=3, images=[], source={})
