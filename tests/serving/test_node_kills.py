"""Nothing is lost and nothing is sent twice, whenever the process is killed.

``experiments/dicom_node_kills.py`` does this with 500 images and 20 kills.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from dicom_nodes import Archive
from node_kills import Plan, run_with_kills

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kill -9")


@pytest.mark.slow
def test_a_node_that_is_killed_again_and_again(
    bundle: Path, archive: Archive, tmp_path: Path
) -> None:
    plan = Plan(bundle, "onnxruntime-fp32", images=20, kills=4, life_s=(1.0, 3.0))
    found = run_with_kills(plan, archive, tmp_path)
    assert found.kills == 4
    assert found.tries >= 20
    assert len(archive.stored) == 20
    assert set(archive.count.values()) == {1}
    assert list((tmp_path / "queue").rglob("*.dcm")) == []
    assert "Roe" not in (tmp_path / "log").read_text()
