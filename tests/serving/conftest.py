"""A bundle that takes no time, and an archive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from dicom_nodes import Archive
from tiny_bundle import write_tiny


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    return write_tiny(tmp_path_factory.mktemp("bundle") / "tiny.mahtrt", off_px=0.0, golden=())


@pytest.fixture
def archive() -> Iterator[Archive]:
    with Archive().open() as opened:
        yield opened
