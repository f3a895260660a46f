"""``mahtrt qat`` on the command line, and a build of what it wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
from foreign_network import POINTS, ForeignNetwork, run

from mahtrt.build import judge as judge_module

pytestmark = pytest.mark.slow
WIDE = "--budget-px=50"


def test_a_network_is_fine_tuned_judged_and_built(
    foreign_network: ForeignNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge_module, "TIMED_ROUNDS", 1)
    out = tmp_path / "tuned.onnx"
    learning = ["--data=phantom:8@1", "--eval=phantom:2@2", f"--points={POINTS}", "--steps=1"]
    how = ["--plan=all", "--method=minmax", "--batch-size=1", "--threads=1", f"--out={out}"]
    result = run("qat", foreign_network.onnx, *learning, *how, WIDE)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1].endswith("tuned.onnx")
    assert "calibrated" in result.stdout
    assert "0.0000 px from what was trained" in " ".join(result.stderr.split())
    refused = run("build", foreign_network.onnx, "--int8", f"--tuned={out}")
    assert refused.exit_code == 2
    assert "--eval" in refused.stderr
    built = run(
        *("build", foreign_network.onnx, "--int8", f"--tuned={out}", "--eval=phantom:2@2"),
        *(f"--points={POINTS}", "--target=onnxruntime", WIDE, f"--out={tmp_path / 'net.mahtrt'}"),
    )
    assert built.exit_code == 0, built.stderr
    looked_at = run("inspect", tmp_path / "net.mahtrt")
    assert looked_at.exit_code == 0, looked_at.stderr


def test_a_budget_that_is_missed_ends_with_exit_code_three(
    foreign_network: ForeignNetwork, tmp_path: Path
) -> None:
    out = tmp_path / "tuned.onnx"
    result = run(
        *("qat", foreign_network.onnx, "--data=phantom:8@1", "--eval=phantom:2@2", "--steps=1"),
        *(f"--points={POINTS}", "--method=minmax", "--batch-size=1", "--budget-px=0"),
        *("--plan=all", "--threads=1", f"--out={out}"),
    )
    assert result.exit_code == 3, result.stderr
    assert "--resume" in result.stderr
    assert not out.exists()
