"""The measurement of OpenVINO's rewrites, on a small network with something for one of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from programs import run_python
from tiny_graphs import Builder

from mahtrt.targets.openvino.run import REWRITES, read_model

SCRIPT = Path(__file__).resolve().parents[2] / "experiments/openvino_rewrites.py"


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with an interpolation that is no average before its end."""
    b = Builder()
    x = b.op("Relu", [b.conv("image", "stem", 3, 16)], "relu")
    path = tmp_path_factory.mktemp("rewrites") / "tiny.onnx"
    onnx.save(b.model({"maps": b.resize(x, "resize", 1.5)}), path)
    return path


def test_a_rewrite_can_be_left_out(network: Path) -> None:
    def kinds(*without: str) -> list[str]:
        model = read_model(network, without=without)
        return sorted(op.get_type_name() for op in model.get_ops())

    assert "Interpolate" not in kinds()
    assert "Interpolate" in kinds("interpolations")
    assert "Interpolate" in kinds(*REWRITES)


def test_it_prints_a_row_for_each(network: Path) -> None:
    ended = run_python(SCRIPT, network, "--precision", "f32", "--threads", "1", "--rounds", "2")
    assert ended.returncode == 0, ended.stderr
    *table, last = ended.stdout.splitlines()
    rows = json.loads(last)["rows"]
    assert [row["name"] for row in rows] == [
        "all rewrites",
        *(f"without {name}" for name in REWRITES),
        "without any",
    ]
    assert len(table) == 2 + len(rows)
    assert rows[0]["of_all_rewrites"] == 1.0
    assert all(np.isfinite(row["p50_ms"]) and row["p50_ms"] > 0 for row in rows)
