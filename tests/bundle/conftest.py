from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def bundle_copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A bundle of the tiny network, to be changed."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "copy.mahtrt"))
