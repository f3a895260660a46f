"""A node stands what no sender should do; ``experiments/dicom_node_fuzz.py`` does more of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from dicom_nodes import Archive
from node_fuzzing import FuzzPlan, fuzz, problems

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc")


@pytest.mark.slow
def test_bad_connections_of_every_kind(bundle: Path, archive: Archive, tmp_path: Path) -> None:
    plan = FuzzPlan(bundle, "onnxruntime-fp32", each=6, lot=6, at_once=6, timeout_s=0.5)
    found = fuzz(plan, archive, tmp_path)
    assert problems(found, archive) == []
    assert set(found.connections.values()) == {6}
