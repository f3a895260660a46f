"""A report that the tests of this package share."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_maps
from written_report import Written, write_report


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The report of a phantom cephalogram with all its quantities. Not to be changed."""
    pytest.importorskip("highdicom", reason="the extra dicom is not installed")
    return write_report(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="session")
def maps_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a network that gives maps and labels, and no landmarks."""
    place = tmp_path_factory.mktemp("maps") / "maps.mahtrt"
    return tiny_maps.build_bundle(place, targets=("onnxruntime",))
